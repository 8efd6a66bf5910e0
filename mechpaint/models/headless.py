"""Models without a language-modelling head as bridges: bare bodies, and bodies with a classification head.

TransformerLens describes language models: for each of its parts, where Hugging Face keeps it. A model of another kind
has the same body, so the description of its language model is fitted to it: the path to the body is left out if the
module is the body itself, the language-modelling head is dropped, and the module's own head gets hook points under
its Hugging Face name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES, ArchitectureAdapterFactory
from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
from transformer_lens.model_bridge.generalized_components import LinearBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForNextSentencePrediction")
"""Endings of the class names of Hugging Face's models with a head that is no language model."""

_LANGUAGE_MODELS: tuple[Mapping[Any, str], ...] = (
    modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)


def fitted_architecture(module: nn.Module) -> str | None:
    """Make TransformerLens know a model without a language-modelling head, under the name of its class."""
    if not isinstance(module, PreTrainedModel) or module.config.is_encoder_decoder:
        return None
    name = type(module).__name__
    if not _bare(module) and not any(kind.endswith(HEADS) for kind in _kinds(module)):
        return None
    language_model = _language_model(str(module.config.model_type))
    if language_model is None:
        return None
    described = SUPPORTED_ARCHITECTURES[language_model]
    ArchitectureAdapterFactory.register_adapter(name, type(f"{name}Adapter", (_Fitted, described), {}))
    return name


def _kinds(module: nn.Module) -> list[str]:
    """The names of its class and of all that this is derived from."""
    return [kind.__name__ for kind in type(module).__mro__]


def _bare(module: PreTrainedModel) -> bool:
    """Recognise what Hugging Face's AutoModel makes; for Llama 4 that is the whole language model."""
    if type(module).__name__.endswith("ForConditionalGeneration"):
        return False
    bodies: Mapping[Any, str | tuple[str, ...]] = modeling_auto.MODEL_MAPPING_NAMES
    body = bodies.get(module.config.model_type, ())
    return not set(_kinds(module)).isdisjoint([body] if isinstance(body, str) else body)


def _language_model(model_type: str) -> str | None:
    """The class of a language model of this type that TransformerLens describes."""
    names = (mapping.get(model_type) for mapping in _LANGUAGE_MODELS)
    return next((name for name in names if name in SUPPORTED_ARCHITECTURES), None)


class _Fitted(ArchitectureAdapter):
    """To be put before the adapter of the language model. What needs its head or its loss is refused."""

    supports_generation = False
    supports_causal_loss = False
    supports_compatibility_mode = False  # it folds norms into an unembedding

    def prepare_model(self, hf_model: Any) -> None:
        bare = _bare(hf_model)
        super().prepare_model(_WithPrefix(hf_model) if bare else hf_model)
        body = f"{hf_model.base_model_prefix}."
        for name, component in list(self.components.items()):
            if not str(component.name).startswith(body):
                del self.components[name]
            elif bare:
                component.name = str(component.name).removeprefix(body)
        if not bare:
            self.components.update(_heads(hf_model))
        if "blocks" not in self.components:
            raise ValueError(f"its layers are not in {body.rstrip('.')}, where its class says that its body is")


class _WithPrefix:
    """A bare body as adapters look at it: as if it stood in a model with a head."""

    def __init__(self, body: PreTrainedModel) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return self._body if name == self._body.base_model_prefix else getattr(self._body, name)


def _heads(model: PreTrainedModel) -> dict[str, GeneralizedComponent]:
    """The modules beside the body that have weights, by name."""
    beside = [(name, child) for name, child in model.named_children() if name != model.base_model_prefix]
    return {name: _head(name, child) for name, child in beside if any(True for _ in child.parameters())}


def _head(name: str, module: nn.Module) -> GeneralizedComponent:
    """Hook points around a head and around each linear map in it."""
    if isinstance(module, nn.Linear):
        return LinearBridge(name=name)
    inside: dict[str, GeneralizedComponent] = {
        part: LinearBridge(name=part) for part, child in module.named_children() if isinstance(child, nn.Linear)
    }
    return GeneralizedComponent(name=name, submodules=inside)
