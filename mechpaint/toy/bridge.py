"""Toy models as TransformerBridges, with the usual hook names."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any, TypeAlias

from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.architecture_adapter import ArchitectureAdapter
from transformer_lens.model_bridge.generalized_components import (
    AttentionBridge,
    BlockBridge,
    EmbeddingBridge,
    LinearBridge,
    PosEmbedBridge,
    UnembeddingBridge,
)
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformers import PreTrainedTokenizerFast

from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.full import FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

ToyModel: TypeAlias = SimplifiedTransformer | FullTransformer


class SimplifiedAdapter(ArchitectureAdapter):
    """The map from parts of a `SimplifiedTransformer` to TransformerLens's components."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        attention = AttentionBridge(
            name="attn", config=cfg, submodules={part: LinearBridge(name=part) for part in ("q", "k", "v", "o")}
        )
        parts: dict[str, Any] = {"attn": attention}
        if getattr(cfg, "feed_forward", False):
            parts["ff"] = LinearBridge(name="ff", optional=True)  # the last layer alone has one
        blocks = BlockBridge(name="layers", config=cfg, submodules=parts)
        blocks.hook_aliases = {
            alias: target
            for alias, target in blocks.hook_aliases.items()
            if alias not in ("hook_resid_mid", "hook_mlp_in", "hook_mlp_out")
        }
        self.component_mapping = {
            "embed": EmbeddingBridge(name="tok_embed"),
            **({} if cfg.positional_embedding_type == "rotary" else {"pos_embed": PosEmbedBridge(name="pos")}),
            "blocks": blocks,
            "unembed": UnembeddingBridge(name="head"),
        }


def as_bridge(model: ToyModel, task: BigramTask | None = None) -> TransformerBridge:
    """Wrap a model in a bridge that shares its weights.

    Args:
        model: A toy model; it remains a plain module.
        task: The task it was trained on, for `task_of`. If all symbols are single characters, the bridge gets a
            tokenizer and accepts text.
    """
    # copy the structure, where TransformerLens puts hook points, but not the tensors
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    module = copy.deepcopy(model, shared)
    symbols = task.chain.symbols if task is not None else ()
    tokenizer = character_tokenizer(symbols) if symbols and all(len(symbol) == 1 for symbol in symbols) else None
    config = _lens_config(model.config) if isinstance(model, SimplifiedTransformer) else model.config.lens()
    config.default_prepend_bos = False  # toy sequences have no special first token
    name = type(model).__name__
    if isinstance(model, SimplifiedTransformer):
        ArchitectureAdapterFactory.register_adapter(name, SimplifiedAdapter)
    bridge = build_bridge_from_module(
        module, str(config.architecture), tl_config=config, tokenizer=tokenizer, model_name=name
    )
    bridge.eval()
    object.__setattr__(module, "task", task)  # not a part of the module
    return bridge


def task_of(bridge: TransformerBridge) -> BigramTask | None:
    """The task that a toy model was trained on; None if unknown, or if the model is not a toy.

    Args:
        bridge: A bridge from `as_bridge` or `mechpaint.load`.
    """
    return getattr(bridge.original_model, "task", None)


def _lens_config(config: SimplifiedConfig) -> TransformerBridgeConfig:
    made = TransformerBridgeConfig(
        d_model=config.dim,
        d_head=config.dim,
        n_layers=config.layers,
        n_ctx=config.length,
        n_heads=1,
        d_vocab=config.vocabulary,
        attn_only=True,
        normalization_type=None,
        positional_embedding_type="rotary" if config.positions == "rotary" else "standard",
        architecture=SimplifiedTransformer.__name__,
    )
    made.feed_forward = config.feed_forward
    return made


def character_tokenizer(symbols: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per character and no special tokens."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    made = tokenizers.Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False)
