"""The requests of a task's documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from mechpaint.errors import TaskError
from mechpaint.scoring.items import Place, places_in, rows_for
from mechpaint.tasks.lm_eval.loading import instances_of
from mechpaint.tasks.lm_eval.registry import quiet

_NAMED = 10


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a task of lm-eval, and its requests.

    Args:
        name: Its name in the results; unique within its task.
        number: Its index among the task's documents.
        fields: lm-eval's document, which its metrics need.
        requests: Its requests, at least one.
        right: The indices of the requests for right answers; none if the task has no right answers.
    """

    name: str
    number: int
    fields: Any
    requests: tuple[Request, ...]
    right: tuple[int, ...]

    @property
    def answer(self) -> int | None:
        """The index of the first right answer."""
        return self.right[0] if self.right else None

    @property
    def longest(self) -> int:
        """The number of positions of its longest row."""
        return max(map(len, self.rows()))

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The rows that predict all windows."""
        return rows_for((window.before, window.after) for request in self.requests for window in request.windows)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each request, the positions that predict its tokens."""
        rows = self.rows()
        return tuple(
            tuple(place for window in request.windows for place in places_in(rows, window.before, window.after))
            for request in self.requests
        )


def documents(task: Any, encoder: Encoder, limit: int | None) -> list[Document]:
    """The first documents of a task, in its order; TaskError if some have nothing to predict, or no right answer."""
    with quiet():
        asked: dict[int, list[Any]] = defaultdict(list)
        for instance in instances_of(task, limit):
            asked[instance.doc_id].append(instance)
        made = [
            Document(
                f"document {number}",
                number,
                instances[0].doc,
                tuple(_request(task, encoder, instance) for instance in sorted(instances, key=lambda one: one.idx)),
                _right(task, instances[0].doc, len(instances)),
            )
            for number, instances in asked.items()
        ]
    _refuse(task, "nothing to predict: an empty answer, or an empty text", [d for d in made if not _all_asked(d)])
    if task.OUTPUT_TYPE == "multiple_choice" and not callable(task.config.process_results):
        _refuse(task, "a right answer that is none of their choices", [d for d in made if not d.right])
    return made


def _request(task: Any, encoder: Encoder, instance: Any) -> Request:
    if instance.request_type == "loglikelihood_rolling":
        return encoder.text(*instance.args)
    if instance.args[1] == task.config.target_delimiter:  # before an answer without a letter
        return Request(())
    return encoder.continuation(*instance.args)


def _all_asked(document: Document) -> bool:
    return all(request.windows for request in document.requests)


def _right(task: Any, fields: Any, requests: int) -> tuple[int, ...]:
    """The right choices, as lm-eval's `process_results` finds them; the only request if there is one."""
    if requests == 1:
        return (0,)
    if task.OUTPUT_TYPE != "multiple_choice":
        return ()
    choices = task.doc_to_choice(fields)
    gold = task.doc_to_text(fields) if task.multiple_input else task.doc_to_target(fields)
    every: list[Any] = cast("list[Any]", gold) if isinstance(gold, list) else [gold]
    indices = [choices.index(one) if isinstance(one, str) and one in choices else one for one in every]
    return tuple(int(one) for one in indices if isinstance(one, int) and 0 <= one < len(choices))


def _refuse(task: Any, what: str, wrong: list[Document]) -> None:
    if wrong:
        names = ", ".join(str(document.number) for document in wrong[:_NAMED])
        more = ", …" if len(wrong) > _NAMED else ""
        raise TaskError(
            f"{len(wrong)} documents of lm_eval:{task.task_name} have {what}. Their indices, from 0: {names}{more}"
        )


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens to predict, `after`, given at least one token `before`."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def length(self) -> int:
        """The number of positions it takes: the last token is never read."""
        return len(self.before) + len(self.after) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """Windows whose tokens' summed log-probability answers it: one for a continuation, one or more for a text."""

    windows: tuple[Window, ...]


class Encoder:
    """Makes requests of texts with the model's Hugging Face tokenizer; several windows if they exceed the context."""

    def __init__(self, tokenizer: Any, context: int) -> None:
        self._tokenizer = tokenizer
        self._context = context
        first = tokenizer.bos_token_id
        self._prefix = int(tokenizer.eos_token_id if first is None else first)
        self._prefix_text = str(tokenizer.decode(self._prefix))
        self._encode: Callable[[str], tuple[int, ...]] = lru_cache(maxsize=64)(self.ids)

    def continuation(self, before: str, after: str) -> Request:
        """Encode a continuation as the tokens of both texts together, without those of `before`.

        Trailing spaces of `before` go to the continuation. An empty `before` becomes a beginning-of-text token, or an
        end-of-text token if the tokenizer has no other.
        """
        if not before:
            ids = tuple(self._tokenizer.encode(after, add_special_tokens=False))
            start = (self._prefix,)
            if ids[:1] == start:
                start, ids = ids[:1], ids[1:]
        else:
            text = before.rstrip()
            start = self._encode(text)
            ids = self.ids(before + after)[len(start) :]
        return Request((Window(start, ids),) if start and ids else ())

    def text(self, text: str) -> Request:
        """Encode a text, in windows as long as the model's context that predict each of its tokens once."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        ids = list(self.ids(text))
        windows: Any = get_rolling_token_windows(
            token_list=ids, prefix_token=self._prefix, max_seq_len=self._context, context_len=1
        )
        pairs: Any = map(make_disjoint_window, windows)
        return Request(tuple(Window(tuple(before), tuple(after)) for before, after in pairs))

    def ids(self, text: str) -> tuple[int, ...]:
        """Encode a text with the tokenizer's special tokens, unless it begins with one."""
        if text.startswith(self._prefix_text):
            return tuple(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))
        return tuple(self._tokenizer.encode(text, verbose=False))
