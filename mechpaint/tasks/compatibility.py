"""The models that tasks are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.errors import TaskError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_FOR_CAUSAL = "facts, hops, ioi, induction, counting, arithmetic, text, lm_eval and glue"
_FOR_MASKED = "mlm, such as --task mlm:FILE, sts, such as --task sts:FILE, and glue"
_FOR_OTHERS = "sts, such as --task sts:FILE, and glue"


def require_causal(model: TransformerBridge, what: str) -> None:
    """Refuse a model that reads in both directions, or has no unembedding."""
    if not (_causal(model) and _unembeds(model)):
        raise TaskError(f"{what} asks which token comes next, and {_is(model)}; tasks for it: {_tasks(model)}")


def require_masked(model: TransformerBridge, what: str) -> None:
    """Refuse a causal model, one without an unembedding, or one whose tokenizer has no mask token."""
    if _causal(model) or not _unembeds(model):
        raise TaskError(f"{what} asks which tokens are masked, and {_is(model)}; tasks for it: {_tasks(model)}")
    if getattr(model.tokenizer, "mask_token_id", None) is None:
        raise TaskError(f"{what} masks tokens, and this model's tokenizer has no mask token")


def _is(model: TransformerBridge) -> str:
    name = type(model.original_model).__name__
    if not _unembeds(model):
        return f"{name} has no unembedding"
    return f"{name} is a causal model" if _causal(model) else f"{name} reads in both directions"


def _tasks(model: TransformerBridge) -> str:
    if not _unembeds(model):
        return _FOR_OTHERS
    return _FOR_CAUSAL if _causal(model) else _FOR_MASKED


def _causal(model: TransformerBridge) -> bool:
    return str(model.cfg.attention_dir) == "causal"


def _unembeds(model: TransformerBridge) -> bool:
    return "unembed" in (model.adapter.component_mapping or {})
