"""Modules, configurations and tokenizers as Hugging Face reads them from a folder or the hub, or says why it cannot."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mechpaint.errors import LoadError, first_line
from mechpaint.models.presets import PRESETS, check_name
from mechpaint.models.quiet import without_bars
from mechpaint.models.weights import check_report, with_adapter

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def module_of(source: str, given: str, dtype: torch.dtype | None, trust_remote_code: bool, **placed: Any) -> Any:
    """A module with all its weights, and none too many."""
    if (Path(source) / "adapter_config.json").is_file():
        return with_adapter(source, given, lambda base: module_of(base, base, dtype, trust_remote_code, **placed))
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, **placed}
    kind = kind_of_model(configuration(source, given, trust_remote_code))
    downloads = not Path(source).is_dir()
    try:
        with nullcontext() if downloads else without_bars():
            # reported rather than raised, so that all of it is
            module, report = kind.from_pretrained(
                source,
                dtype=dtype,
                attn_implementation="eager",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    except Exception as error:  # Hugging Face, safetensors, torch and packages for quantised weights
        raise no_model(given, error) from error
    check_report(report, given)
    return module


_SECONDS_FOR_THE_HUB = 5.0


def on_hub(name: str) -> str:
    """A name to give to Hugging Face, or its folder in the cache where the hub cannot be reached.

    Hugging Face itself finds that out after 23 seconds, and tries again for every file.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub import snapshot_download as download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import LocalEntryNotFoundError

    check_name(name)
    if constants.is_offline_mode():
        return name
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS_FOR_THE_HUB)
    except Exception as error:  # of whichever library the hub's client is built on
        try:
            return str(cast(Any, download)(name, local_files_only=True))
        except (LocalEntryNotFoundError, ValueError):
            raise LoadError(
                f"cannot load the model {name!r}: {constants.ENDPOINT} cannot be reached ({first_line(error)}), and "
                f"there is no such folder. These need no network once fetched: {', '.join(PRESETS)}"
            ) from error
    return name


def configuration(source: str, given: str, trust_remote_code: bool) -> Any:
    """Read a model's configuration, or say why it cannot be read."""
    import transformers

    try:
        return cast(Any, transformers.AutoConfig).from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise no_model(given, error) from error


def kind_of_model(config: Any) -> Any:
    """The class of a configuration's model."""
    import transformers

    name = (config.architectures or [None])[0]
    # custom code has no class in transformers; the automatic one finds it
    return getattr(transformers, str(name), None) or transformers.AutoModelForCausalLM


def no_model(given: str, error: Exception | str) -> LoadError:
    """The error of a model that cannot be loaded, with what would be one."""
    return LoadError(
        f"cannot load the model {given!r}: {error if isinstance(error, str) else first_line(error)}\n"
        f"Expected a folder written by save_pretrained, a name on the hub, or one of {', '.join(PRESETS)}."
    )


def tokenizer_of(source: str, trust_remote_code: bool) -> PreTrainedTokenizerBase | None:
    """A model's own tokenizer, if it has one."""
    from transformers import AutoTokenizer

    files = (
        "tokenizer.json",
        "tokenizer.model",
        "vocab.json",
        "vocab.txt",
        "tokenizer_config.json",
        "spiece.model",
    )
    if Path(source).is_dir() and not any((Path(source) / name).exists() for name in files):
        return None
    try:
        return cast(Any, AutoTokenizer).from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise LoadError(f"cannot load the tokenizer of {source!r}: {first_line(error)}") from error
