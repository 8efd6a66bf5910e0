"""Copies of a bridge's model for fine-tuning, which share all weights but those that learn.

So the given model never changes, even if training raises, and a frozen body costs no memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel

from mechpaint.errors import TrainingError
from mechpaint.finetuning.training_loop import own_randomness
from mechpaint.models.bridges import stored_tokenizer
from mechpaint.models.loading import load
from mechpaint.models.quiet import quietly


def classifier(model: TransformerBridge, labels: int, seed: int = 0) -> TransformerBridge:
    """Make a classifier with a model's body, whose weights are shared, and a new head.

    The head, with its pooling, is Hugging Face's for the architecture: BERT's reads the pooler at the first token, a
    decoder's reads the last real token.

    Args:
        model: A bridge on a Hugging Face model, without a head or with any.
        labels: The number of classes; 1 for a regression.
        seed: Random seed of the head's weights.

    Returns:
        A bridge on the classifier.

    Raises:
        TrainingError: Hugging Face has no classification model of this architecture, or the model lacks weights of its
            class.
    """
    original, kind = require_classifier(model)
    config: Any = copy.deepcopy(original.config)
    config.num_labels = labels
    config.pad_token_id = padding(model)
    with own_randomness(f"head {seed}", original.device):
        weights = _weights(original, kind, config)
        body = {name: tensor for name, tensor in weights.items() if name.startswith(kind.base_model_prefix + ".")}
        return _loaded(model, kind, config, body)


def require_classifier(model: TransformerBridge) -> tuple[PreTrainedModel, type[PreTrainedModel]]:
    """The Hugging Face model, and the class of a classifier with the same body."""
    original = _original(model)
    kind: Any = cast(Any, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING).get(type(original.config), None)
    if kind is None:
        raise TrainingError(
            f"transformers has no sequence classification model for a {type(original.config).__name__}, so a "
            f"{type(original).__name__} cannot get a head"
        )
    return original, kind


def language_model(model: TransformerBridge) -> TransformerBridge:
    """Copy a causal language model, sharing all weights."""
    original = _original(model)
    if not type(original).__name__.endswith(("ForCausalLM", "LMHeadModel")):
        raise TrainingError(f"expected a causal language model, got a {type(original).__name__}")
    config, kind = copy.deepcopy(original.config), type(original)
    with own_randomness("nothing is drawn", original.device):  # modules are first initialised at random
        return _loaded(model, kind, config, _weights(original, kind, config))


def head(model: TransformerBridge) -> list[nn.Module]:
    """The head's modules of a classifier: all outside its body, and the body's pooler."""
    original = cast(Any, model.original_model)
    body = original.base_model_prefix
    parts: list[nn.Module] = [child for name, child in original.named_children() if name != body]
    pooler = getattr(getattr(original, body), "pooler", None)
    return parts if pooler is None else [*parts, pooler]


def make_own(parameters: Iterable[nn.Parameter]) -> None:
    """Give parameters their own memory."""
    for parameter in parameters:
        parameter.data = parameter.data.clone()


def padding(model: TransformerBridge) -> int:
    """The padding token of tokenizer or model, else the end-of-text token, else 0."""
    tokenizer, config = stored_tokenizer(model), cast(Any, model.original_model).config
    asked = [getattr(each, name, None) for name in ("pad_token_id", "eos_token_id") for each in (tokenizer, config)]
    return next((token for token in asked if isinstance(token, int) and token >= 0), 0)


def _original(model: TransformerBridge) -> PreTrainedModel:
    original: Any = model.original_model
    name = type(original).__name__
    if not isinstance(original, PreTrainedModel):
        raise TrainingError(f"expected a bridge on a Hugging Face model, got one on a {name}")
    if model.compatibility_mode:
        raise TrainingError(
            "this model is in TransformerLens's compatibility mode, which changes its weights; fine-tune the model "
            "that mechpaint.load returns"
        )
    if original.dtype not in (torch.float32, torch.float64):
        raise TrainingError(
            f"fine-tuning takes small steps that {original.dtype} rounds away: load the model with dtype='float32'"
        )
    return original


def _loaded(
    model: TransformerBridge, kind: type[PreTrainedModel], config: Any, weights: dict[str, Tensor]
) -> TransformerBridge:
    """Make a model of a class from these weights; the rest of its head is random."""
    original = _original(model)
    if hasattr(config, "use_cache"):
        config.use_cache = False
    with quietly():
        made, loading = cast(Any, kind).from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=original.dtype,
            attn_implementation="eager",
            output_loading_info=True,
        )
    bridge = load(made.to(original.device), tokenizer=stored_tokenizer(model))
    new = {id(parameter) for module in head(bridge) for parameter in module.parameters()}
    lost = [name for name, p in made.named_parameters() if id(p) not in new and _plain(name) in loading["missing_keys"]]
    if lost:
        raise TrainingError(f"this {type(original).__name__} has no weight {_plain(lost[0])!r}, which its class has")
    return bridge


def _weights(original: PreTrainedModel, kind: type[PreTrainedModel], config: Any) -> dict[str, Tensor]:
    """Rename a model's tensors for a class with the same body, with or without its prefix."""
    tensors = {_plain(name): tensor for name, tensor in original.state_dict().items()}
    with torch.device("meta"):
        wanted = cast(Any, kind)(copy.deepcopy(config)).state_dict()
    sources = {name: name if name in tensors else name.removeprefix(kind.base_model_prefix + ".") for name in wanted}
    return {name: tensors[source] for name, source in sources.items() if source in tensors}


def _plain(name: str) -> str:
    """A weight's Hugging Face name, without TransformerLens's wrappers."""
    return name.replace("._original_component", "")
