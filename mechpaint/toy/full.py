"""The full transformer: layer norm, several heads, learned queries, an MLP. TransformerLens's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge.sources.native import NativeModel, initialize_native_model

from mechpaint.errors import ToyError


@dataclass(frozen=True)
class FullConfig:
    """The configuration of a `FullTransformer`.

    Args:
        vocabulary: The number of tokens.
        dim: Width of the residual stream.
        length: The longest sequence.
        layers: The number of layers.
        heads: Heads per layer; they share `dim`.
        mlp: Width of the MLP; 0 for none.
        layer_norm: True if layers and the unembedding read a normalised residual stream.
        positions: Learned position vectors, or rotary queries and keys.
        seed: Random seed of all weights.

    Raises:
        ToyError: Sizes out of range, or rotary positions with an odd width per head.
    """

    vocabulary: int = 65
    dim: int = 64
    length: int = 64
    layers: int = 2
    heads: int = 2
    mlp: int = 256
    layer_norm: bool = True
    positions: Literal["learned", "rotary"] = "learned"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ToyError(f"expected a seed from 0 to 2^63 - 1, got {self.seed}")
        for name in ("vocabulary", "dim", "length", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ToyError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.mlp < 0:
            raise ToyError(f"mlp must be 0 (none) or more, got {self.mlp}")
        if self.dim % self.heads:
            raise ToyError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        if self.positions not in ("learned", "rotary"):
            raise ToyError(f"positions are learned or rotary, got {self.positions!r}")
        if self.positions == "rotary" and (self.dim // self.heads) % 2:
            raise ToyError(f"rotary positions need an even width per head, got {self.dim // self.heads}")

    def lens(self) -> TransformerBridgeConfig:
        """The configuration in TransformerLens's terms."""
        return TransformerBridgeConfig(
            d_model=self.dim,
            d_head=self.dim // self.heads,
            n_layers=self.layers,
            n_ctx=self.length,
            n_heads=self.heads,
            d_vocab=self.vocabulary,
            d_mlp=self.mlp or 1,
            attn_only=not self.mlp,
            act_fn="gelu",
            normalization_type="LN" if self.layer_norm else None,
            positional_embedding_type="rotary" if self.positions == "rotary" else "standard",
            architecture="TransformerLensNative",
            seed=self.seed,
        )


class FullTransformer(NativeModel):
    """A small transformer with layer norm, several heads and an MLP, as a plain module; see `mechpaint.toy.as_bridge`.

    Args:
        config: The configuration.
    """

    def __init__(self, config: FullConfig) -> None:
        super().__init__(config.lens())
        self.config = config
        initialize_native_model(self, self.cfg)

    def logits_at(
        self, tokens: Int[Tensor, "batch position"], where: Bool[Tensor, "batch position"]
    ) -> Float[Tensor, "chosen vocab"]:
        """Compute logits at chosen positions, in the order of `where.nonzero()`.

        Args:
            tokens: Token ids, at most `config.length` positions.
            where: True at the chosen positions.
        """
        return cast(Tensor, self(tokens))[where]
