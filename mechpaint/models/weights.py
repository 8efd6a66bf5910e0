"""What Hugging Face reports of the weights that it read, and adapters on top of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from mechpaint.errors import LoadError

_NAMED = 3
_ADAPTER = "adapter_model.safetensors"
_OTHER_HEADS = re.compile(r"(^|\.)(pooler|seq_relationship|sop_classifier)\.")
"""Heads of BERT's pretraining, which its language models leave away."""


def check_report(report: Mapping[str, Any], given: str) -> None:
    """Refuse a model of which some weights would be random, or some of the file's would not count.

    Args:
        report: What `from_pretrained(..., output_loading_info=True)` gives besides the model.
        given: What the user asked for.
    """
    unexpected = [name for name in _names(report.get("unexpected_keys")) if not _OTHER_HEADS.search(name)]
    mismatched = _names(report.get("mismatched_keys"))
    missing = [name for name in _names(report.get("missing_keys")) if name not in mismatched]
    faults = [
        _fault(missing, "are missing and would be random"),
        _fault(mismatched, "have other shapes than config.json says"),
        _fault(unexpected, "have no place in the model that config.json describes"),
        *map(str, report.get("error_msgs") or ()),
    ]
    said = "; ".join(filter(None, faults))
    if said:
        raise LoadError(
            f"cannot load the model {given!r}: of its weights {said}. Expected weights that fit config.json: convert "
            "the checkpoint, or load it with Hugging Face and give mechpaint.load the module"
        )


def _names(found: Iterable[Any] | None) -> list[str]:
    """Names of weights; with those of other shapes come their shapes."""
    return sorted(str(cast(tuple[Any, ...], one)[0] if isinstance(one, tuple) else one) for one in found or ())


def _fault(names: list[str], what: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} {what}"


def with_adapter(folder: str, given: str, load_base: Callable[[str], Any]) -> Any:
    """A PEFT adapter merged into its base model, as a plain module.

    Args:
        folder: The folder with `adapter_config.json`.
        given: What the user asked for.
        load_base: From the name that the adapter gives of its base model to the module.
    """
    try:
        import peft
    except ImportError as error:
        raise LoadError(
            f"{given!r} is an adapter, not a model: pip install peft, which merges it into its base model; or merge it "
            "yourself and give mechpaint.load the module"
        ) from error
    library = cast(Any, peft)
    try:
        base = str(library.PeftConfig.from_pretrained(folder).base_model_name_or_path)
        where = base if Path(base).is_absolute() or not (Path(folder) / base).is_dir() else str(Path(folder) / base)
        if Path(where).resolve() == Path(folder).resolve():
            raise LoadError(f"the adapter {given!r} names itself as its base model")
        if not (Path(folder) / _ADAPTER).is_file():
            raise LoadError(f"the adapter {given!r} has no {_ADAPTER}, which belongs to its configuration")
        adapted = library.PeftModel.from_pretrained(load_base(where), folder)
        _check_adapter(library, adapted, Path(folder), given)
        return _merged(adapted, given)
    except LoadError:
        raise
    except Exception as error:  # kinds of adapters that PEFT does not know, and damaged ones
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise LoadError(f"cannot load the adapter {given!r}: {' '.join(lines[:2])}") from error


def _check_adapter(library: Any, adapted: Any, folder: Path, given: str) -> None:
    """Refuse an adapter of which some weights are missing, or have no place: PEFT warns at most."""
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    there, wanted = set(load_file(folder / _ADAPTER)), set(library.get_peft_model_state_dict(adapted))
    faults = filter(
        None,
        [
            _fault(sorted(wanted - there), "are missing and would be as new"),
            _fault(sorted(there - wanted), "have no place in it"),
        ],
    )
    said = "; ".join(faults)
    if said:
        raise LoadError(f"cannot load the adapter {given!r}: of its weights {said}")


def _merged(adapted: Any, given: str) -> Any:
    """The plain module, if it computes what the adapted one does: merging into weights that are shared does not."""
    from mechpaint.models.comparison import observe, relative_difference, tolerance

    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise LoadError(
            f"the adapter {given!r} is of the kind {type(adapted.base_model).__name__}, which cannot be merged into "
            "weights: expected LoRA or one like it"
        )
    adapted = adapted.eval()
    observed = observe(adapted.base_model.model)
    merged = adapted.merge_and_unload()
    after = observe(merged)
    if observed is None or after is None:
        return merged
    difference = relative_difference(after.logits, observed.logits)
    if not difference <= tolerance(observed.logits.dtype):
        raise LoadError(
            f"merging the adapter {given!r} changes what it computes (logits by {difference:.2g} of their size): it "
            "adapts weights that the model uses in several places. Load it with PEFT, and give mechpaint.load the "
            "module in it, adapted.base_model.model"
        )
    return merged
