"""The tasks of lm-eval that a name stands for, and the YAML files that define them.

lm-eval itself reads all of its some 14,000 YAML files, which takes half a minute. Here only the folders are read that
can define what is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import logging
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mechpaint.errors import TaskError

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_NEAR = 5


def manager_of(name: str, folder: str | None = None) -> TaskManager:
    """lm-eval's task manager, loaded with a task, or with a group or tag and all its tasks, first from `folder`."""
    require_lm_eval()
    own = [_checked(folder)] if folder is not None else []
    with quiet():
        from lm_eval.tasks import TaskManager

        read: list[Path] = []
        asked: set[str] = set()
        manager = TaskManager(include_path=[*own], include_defaults=False)
        while unknown := _unknown(manager, name) - asked:
            asked |= unknown
            folders = [place for one in sorted(unknown) for place in _folders(one)]
            read += [place for place in dict.fromkeys(folders) if place not in read]
            manager = TaskManager(include_path=[*read, *own], include_defaults=False)
    if name not in manager.all_tasks:
        raise TaskError(_no_such(name, manager.all_tasks, folder))
    return manager


def members(name: str, folder: str | None = None) -> tuple[str, ...]:
    """The tasks that a name stands for: itself, or those of a group or tag, and of the groups in it."""
    manager = manager_of(name, folder)
    return tuple(dict.fromkeys(_leaves(manager, name)))


def _leaves(manager: Any, name: str) -> Iterator[str]:
    if name in manager.all_subtasks:
        yield name
    elif name in manager.all_tags:
        # of a tag itself the manager knows only what the folder that was read last has
        yield from (task for task in manager.all_subtasks if name in manager.task_index[task].tags)
    elif name in manager.all_groups:
        for child in _children(manager, name):
            yield from _leaves(manager, child)
    else:
        raise TaskError(f"a group of lm-eval contains the task {name!r}, which does not exist")


def _children(manager: Any, group: str) -> list[str]:
    """The names in a group; TaskError if it defines or changes tasks itself."""
    names: list[str] = []
    children: list[str | dict[str, Any]] = manager.task_index[group].cfg.get("task") or []
    for child in children:
        if isinstance(child, str):
            names.append(child)
            continue
        name = child.get("group") or child.get("task")
        others = sorted(set(child) - {"task", "group"})
        if isinstance(child.get("task"), list) or others or not isinstance(name, str):
            raise TaskError(
                f"the group {group!r} of lm-eval defines or changes tasks by itself ({name}: "
                f"{', '.join(others) or 'a list of tasks'}): ask for its tasks one by one"
            )
        names.append(name)
    return names


def _unknown(manager: Any, name: str) -> set[str]:
    """The names that the manager needs for `name`, and does not know."""
    if name not in manager.all_tasks:
        return {name}
    if name in manager.all_groups:
        inside = (_unknown(manager, child) for child in _children(manager, name))
        return set[str]().union(*inside)
    # tasks anywhere may have a tag
    return {name} if name in manager.all_tags else set()


def _folders(name: str) -> list[Path]:
    """lm-eval's folders whose files may define a task, group or tag, by their names or contents."""
    files = sorted(_root().glob("**/*"))
    mention = re.compile(rb"(?m)^\s*(?:-|task\s*:|group\s*:|tag\s*:).*(?<![\w-])%b(?![\w-])" % re.escape(name.encode()))
    named = [path for path in files if path.suffix == ".yaml" and path.stem in (name, f"_{name}")]
    defining = re.compile(rb"(?m)^(?:task|group)\s*:\s*[\"']?%b[\"']?\s*(?:#.*)?$" % re.escape(name.encode()))
    sure = [path for path in named if defining.search(path.read_bytes())]
    texts = [path for path in files if "yaml" in path.name and path.is_file()]
    defining_files = sure or [path for path in texts if mention.search(path.read_bytes())]
    return list(dict.fromkeys(path.parent for path in defining_files))


def _root() -> Path:
    import lm_eval.tasks

    return Path(str(lm_eval.tasks.__file__)).parent


def _no_such(name: str, known: Sequence[str], folder: str | None) -> str:
    """The error message for an unknown name, with similar names."""
    stems = {path.stem.lstrip("_") for path in _root().glob("**/*.yaml")}
    near = difflib.get_close_matches(name, sorted({*known, *stems}), n=_NEAR, cutoff=0.6)
    where = "lm-eval has no task, group or tag" if folder is None else f"neither lm-eval nor {folder!r} has a task"
    like = f"; names like it: {', '.join(near)}" if near else ""
    return f"{where} {name!r}{like}. All names: lm-eval ls tasks"


class _AnyTag(yaml.SafeLoader):
    """Reads YAML with tags such as !function, without acting on them."""


def _ignored(loader: Any, suffix: str, node: Any) -> str:
    return f"!{suffix}"


_AnyTag.add_multi_constructor("!", _ignored)


def _checked(folder: str) -> Path:
    """The folder, once each of its YAML files can be read: lm-eval skips those that cannot."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise TaskError(f"--task-path: there is no folder {folder!r}")
    for file in sorted(path.glob("**/*.yaml")):
        try:
            made: Any = yaml.load(file.read_bytes(), Loader=_AnyTag)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            raise TaskError(f"{file}{line}: {getattr(error, 'problem', None) or error}") from error
        if not isinstance(made, dict):
            raise TaskError(f"{file}: expected names and values, such as 'task: my_task', got {made!r}")
        _check_includes(file, made)
    return path


def _check_includes(file: Path, made: Any) -> None:
    included: str | list[str] = made.get("include") or []
    for one in [included] if isinstance(included, str) else included:
        if not (file.parent / one).is_file():
            raise TaskError(f"{file} includes {one!r}, and there is no such file")


_LOGGERS = ("lm_eval", "datasets", "huggingface_hub")


def require_lm_eval() -> None:
    """Refuse to go on without lm-eval."""
    if importlib.util.find_spec("lm_eval") is None:
        raise TaskError("the task lm_eval needs lm-eval, which is not installed: pip install 'mechpaint[eval]'")


@contextmanager
def quiet() -> Generator[None]:
    """Silence what lm-eval and its libraries print, log and warn; it would hide mechpaint's progress bar too."""
    with unlogged(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextmanager
def unlogged() -> Generator[None]:
    """Silence what lm-eval and its libraries log and warn."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
