"""The simplified transformer of "Birth of a Transformer" (arXiv 2306.00802, section 4.2).

One head, no layer norm, no biases, and the identity as query map. Embeddings, positions, unembedding, all values, and
the output maps of all layers but the last are random and frozen. The keys of every layer, the last output map, and an
optional linear feed-forward in the last layer are learned. So each learned matrix is an associative memory over nearly
orthogonal random vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mechpaint.errors import ToyError

Positions: TypeAlias = Literal["random", "sinusoidal", "rotary"]
Residual: TypeAlias = Float[Tensor, "batch position dim"]


@dataclass(frozen=True)
class SimplifiedConfig:
    """The configuration of a `SimplifiedTransformer`.

    Args:
        vocabulary: The number of tokens.
        dim: Width d of the residual stream.
        length: The longest sequence.
        layers: The number of layers; the paper's model has two.
        feed_forward: True for a linear feed-forward, W_F, in the last layer.
        positions: Random or sinusoidal vectors, or rotary queries and keys instead.
        seed: Random seed of all weights.

    Raises:
        ToyError: Sizes below 1, unknown positions, or an odd `dim` where positions need pairs.
    """

    vocabulary: int = 65
    dim: int = 128
    length: int = 64
    layers: int = 2
    feed_forward: bool = False
    positions: Positions = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ToyError(f"expected a seed from 0 to 2^63 - 1, got {self.seed}")
        sizes = {name: getattr(self, name) for name in ("vocabulary", "dim", "length", "layers")}
        for name, size in sizes.items():
            if size < 1:
                raise ToyError(f"{name} must be 1 or more, got {size}")
        if self.positions not in ("random", "sinusoidal", "rotary"):
            raise ToyError(f"positions are random, sinusoidal or rotary, got {self.positions!r}")
        if self.positions != "random" and self.dim % 2:
            raise ToyError(f"{self.positions} positions need an even dim, got {self.dim}")


class IdentityQuery(nn.Module):
    """The query map, an identity. Its weight can be read but is not saved."""

    weight: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_features = self.out_features = dim
        self.register_buffer("weight", torch.eye(dim), persistent=False)
        self.bias = None

    def forward(self, residual: Tensor) -> Tensor:
        """Return the input."""
        return residual


class SimplifiedAttention(nn.Module):
    """One causal head: `score[t, s] = h_t · W_K h_s / √d`, output `W_O Σ_s softmax(score)[t, s] W_V h_s`."""

    accepts_pattern_fn = True
    """Tells TransformerLens that hooks can edit the pattern before it weighs the values."""

    def __init__(self, dim: int, rotary: bool) -> None:
        super().__init__()
        self.q = IdentityQuery(dim)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)
        self.rotary = rotary
        self.scale = 1 / math.sqrt(dim)

    def forward(
        self,
        hidden_states: Residual,
        pattern_fn: Callable[[Tensor], Tensor] | None = None,
        attention_mask: Int[Tensor, "batch position"] | None = None,
        **unused: Any,
    ) -> tuple[Residual, Float[Tensor, "batch 1 query key"]]:
        """Compute the update of the residual stream, and the pattern."""
        pattern = self.pattern(self.q(hidden_states), self.k(hidden_states), attention_mask)[:, None]
        if pattern_fn is not None:
            pattern = pattern_fn(pattern)
        return self.o(pattern[:, 0] @ self.v(hidden_states)), pattern

    def pattern(
        self, query: Residual, key: Residual, attention_mask: Int[Tensor, "batch position"] | None = None
    ) -> Float[Tensor, "batch query key"]:
        """Compute the attention of each position to itself and earlier ones."""
        if self.rotary:
            query, key = rotated(query), rotated(key)
        scores = self.scale * query @ key.mT
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attention_mask is not None:
            # a padded position sees itself, so that its softmax is defined
            own = torch.eye(len(seen), dtype=torch.bool, device=seen.device)
            seen = seen & attention_mask.bool()[:, None, :] | own
        return scores.masked_fill(~seen, -torch.inf).softmax(-1)

    def at(self, residual: Residual, where: Bool[Tensor, "batch position"]) -> Float[Tensor, "query dim"]:
        """Compute the update at chosen positions only, in the order of `where.nonzero()`.

        Since `h_t · W_K h_s = (W_Kᵀ h_t) · h_s`, and values are weighed before they are mapped, each d x d product runs
        over the chosen queries only.
        """
        places, chosen = _padded(where)
        query, key = residual[where], residual
        if self.rotary:
            query, key = rotated(query, where.nonzero()[:, 1]), rotated(self.k(residual))
        else:
            query = query @ self.k.weight
        scores = self.scale * _unflattened(query, chosen) @ key.mT
        seen = torch.arange(residual.shape[1], device=residual.device) <= places[..., None]
        pattern = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return self.o(self.v((pattern @ residual)[chosen]))


class SimplifiedBlock(nn.Module):
    """Attention, and in the last layer a linear feed-forward: `h ← h + attn(h)`, then `h ← h + W_F h`."""

    def __init__(self, dim: int, rotary: bool, feed_forward: bool) -> None:
        super().__init__()
        self.attn = SimplifiedAttention(dim, rotary)
        self.ff = nn.Linear(dim, dim, bias=False) if feed_forward else None

    def forward(self, hidden_states: Residual, attention_mask: Tensor | None = None, **unused: Any) -> Residual:
        """Compute the residual stream after this layer."""
        update, _ = self.attn(hidden_states, attention_mask=attention_mask)
        return self.fed_forward(hidden_states + update)

    def at(self, residual: Residual, where: Bool[Tensor, "batch position"]) -> Float[Tensor, "query dim"]:
        """Compute the residual stream after this layer, at chosen positions only."""
        return self.fed_forward(residual[where] + self.attn.at(residual, where))

    def fed_forward(self, residual: Tensor) -> Tensor:
        """Add the output of the feed-forward, if there is one."""
        return residual if self.ff is None else residual + self.ff(residual)


class SimplifiedTransformer(nn.Module):
    """The simplified transformer as a plain module, quick to train; `mechpaint.toy.as_bridge` opens it to hook sets.

    Args:
        config: The configuration.
    """

    def __init__(self, config: SimplifiedConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embed = nn.Embedding(config.vocabulary, config.dim)
        self.pos = None if config.positions == "rotary" else nn.Embedding(config.length, config.dim)
        last = config.layers - 1
        self.layers = nn.ModuleList(
            SimplifiedBlock(config.dim, config.positions == "rotary", config.feed_forward and i == last)
            for i in range(config.layers)
        )
        self.head = nn.Linear(config.dim, config.vocabulary, bias=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Embeddings and positions from N(0, 1), matrices from U(-1/√d, 1/√d), as in the paper's own code."""
        generator = torch.Generator().manual_seed(self.config.seed)
        bound = 1 / math.sqrt(self.config.dim)
        for name, parameter in self.named_parameters():
            learned = ".attn.k." in name or ".ff." in name or name == f"layers.{len(self.layers) - 1}.attn.o.weight"
            parameter.requires_grad_(learned)
            if name == "pos.weight" and self.config.positions == "sinusoidal":
                parameter.copy_(sinusoids(*parameter.shape))
            elif name in ("tok_embed.weight", "pos.weight"):
                parameter.normal_(generator=generator)
            else:
                parameter.uniform_(-bound, bound, generator=generator)

    @property
    def first(self) -> SimplifiedBlock:
        """The first layer: in the paper's circuit, the previous-token head."""
        return cast(SimplifiedBlock, self.layers[0])

    @property
    def last(self) -> SimplifiedBlock:
        """The last layer: in the paper's circuit, the induction head."""
        return cast(SimplifiedBlock, self.layers[-1])

    def forward(
        self,
        input_ids: Int[Tensor, "batch position"],
        attention_mask: Int[Tensor, "batch position"] | None = None,
        **unused: Any,
    ) -> Float[Tensor, "*positions vocab"]:
        """Compute logits at every position.

        Args:
            input_ids: Token ids.
            attention_mask: 1 at tokens that may be attended to, 0 elsewhere; None for all.
            unused: Other arguments of Hugging Face models, ignored.

        Raises:
            ToyError: More positions than the model has, or an unknown token.
        """
        largest = int(input_ids.max())
        if largest >= self.config.vocabulary:
            raise ToyError(
                f"token {largest} is not among this model's {self.config.vocabulary} "
                "(texts of different lengths are padded with one that is not: give them one at a time)"
            )
        residual = self._embedded(input_ids)
        for layer in self.layers:
            residual = layer(residual, attention_mask=attention_mask)
        return self.head(residual)

    def logits_at(
        self, tokens: Int[Tensor, "batch position"], where: Bool[Tensor, "batch position"]
    ) -> Float[Tensor, "chosen vocab"]:
        """Compute logits at chosen positions, in the order of `where.nonzero()`.

        The last layer computes only these queries. The first reads `w_E(x_t) + p_t`, so its matrices are applied once
        to each symbol and each position, not to every token of the batch.

        Args:
            tokens: Token ids, at most `config.length` positions.
            where: True at the chosen positions.
        """
        residual = self._embedded(tokens)
        if self.first is not self.last:
            residual = self._after_first(tokens, residual)
        for layer in self.layers[1:-1]:
            residual = layer(residual)
        return self.head(self.last.at(residual, where))

    def _after_first(self, tokens: Tensor, residual: Residual) -> Residual:
        def mapped(linear: Callable[[Tensor], Tensor]) -> Residual:
            of_tokens = functional.embedding(tokens, linear(self.tok_embed.weight))
            return of_tokens if self.pos is None else of_tokens + linear(self.pos.weight[: tokens.shape[1]])

        attn = self.first.attn
        values = mapped(lambda embeddings: attn.o(attn.v(embeddings)))
        return torch.baddbmm(residual, attn.pattern(residual, mapped(attn.k)), values)

    def _embedded(self, tokens: Tensor) -> Residual:
        length = tokens.shape[1]
        if length > self.config.length:
            raise ToyError(f"this model takes sequences of up to {self.config.length} tokens, got {length}")
        residual: Tensor = self.tok_embed(tokens)
        if self.pos is None:
            return residual
        # a bridge repeats the embedding of a single position for every sequence
        return residual + self.pos(torch.arange(length, device=tokens.device))[:length]


def sinusoids(length: int, dim: int) -> Float[Tensor, "position dim"]:
    """Positions as sines and cosines of wavelengths from 2π to 20,000π (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, dim, 2) / dim)
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def rotated(
    vectors: Float[Tensor, "*batch position dim"], places: Int[Tensor, "position"] | None = None
) -> Float[Tensor, "*batch position dim"]:
    """Rotate pairs of coordinates by angles that grow with the position (Su et al. 2021, section 3.2.2)."""
    dim = vectors.shape[-1]
    if places is None:
        places = torch.arange(vectors.shape[-2], device=vectors.device)
    rates = torch.exp(-math.log(10_000) * torch.arange(0, dim, 2, device=vectors.device) / dim)
    angles = places[..., None] * rates
    even, odd = vectors[..., 0::2], vectors[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


def _unflattened(
    rows: Float[Tensor, "chosen dim"], chosen: Bool[Tensor, "batch most"]
) -> Float[Tensor, "batch most dim"]:
    """Put rows back into their sequences, padded with zeros."""
    return rows.new_zeros(*chosen.shape, rows.shape[-1]).masked_scatter(chosen[..., None], rows)


def _padded(
    where: Bool[Tensor, "batch position"],
) -> tuple[Int[Tensor, "batch most"], Bool[Tensor, "batch most"]]:
    """The chosen positions of each row, in order and padded with others, and the mask of chosen ones."""
    counts = where.sum(1)
    most = int(counts.max())
    places = where.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return places, torch.arange(most, device=where.device) < counts[:, None]
