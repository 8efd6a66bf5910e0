"""Gradient steps as memories (arXiv 2306.00802, section 6 and its lemma).

For a linear layer W under cross-entropy, the negative gradient is itself a sum of outer products,
`-∇_W = Σ_k p(y=k) w_U(k) (μ_k - μ̂_k)ᵀ`, with μ_k = E[x | y=k] and μ̂_k = E[p̂(k | x) x] / p(y=k): one step stores, for
every answer k, the difference between the inputs that require it and those for which it is predicted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mechpaint.errors import ToyError
from mechpaint.toy.bigram_task import ToyBatch
from mechpaint.toy.construction import Matrix, outer_products
from mechpaint.toy.probes import Learned, learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedTransformer
from mechpaint.toy.training import batch_loss

TOP_DOWN: tuple[Learned, ...] = ("W_O^2", "W_K^2", "W_K^1")
"""The order in which three steps find the whole circuit."""


def gradient_memory(
    inputs: Float[Tensor, "n dim"],
    targets: Int[Tensor, "n"],
    unembed: Float[Tensor, "vocab dim_out"],
    probabilities: Float[Tensor, "n vocab"],
) -> Float[Tensor, "dim_out dim"]:
    """The negative gradient of the mean cross-entropy of `unembed @ W @ x` with respect to W, by the lemma.

    Args:
        inputs: x.
        targets: y.
        unembed: w_U, one row per token.
        probabilities: The model's predictions from each x; at W = 0, 1/vocab.

    Returns:
        `[dim_out, dim]`: the update of W by one step with learning rate 1.
    """
    surprise = functional.one_hot(targets, len(unembed)).to(inputs.dtype) - probabilities
    return outer_products(unembed, surprise.T @ inputs / len(inputs))


@dataclass(frozen=True)
class FirstStep:
    """The first gradient of W_O² from the idealised start, for any dimension.

    All learned matrices are zero there, so attention and predictions are uniform: the direct effect of the residual
    stream through random unembeddings is ignored. The input of W_O² is then W_V² applied to averages over the tokens so
    far, and the data contribute tables over tokens and positions that are the same in every dimension.

    Attributes:
        tokens: `[u, v]`, E[(1{y=u} - 1/vocab) f(v)], where f(v) is the frequency of v among the tokens so far.
        tokens_again: The same for averages of averages, as layer 1 writes them.
        positions: `[u, t]`, the same for positions.
        positions_again: The same for positions, as layer 1 writes them.
    """

    tokens: Float[Tensor, "vocab vocab"]
    tokens_again: Float[Tensor, "vocab vocab"]
    positions: Float[Tensor, "vocab position"]
    positions_again: Float[Tensor, "vocab position"]

    @classmethod
    def of(cls, batches: Iterable[ToyBatch], vocabulary: int) -> FirstStep:
        """Average over batches, at second and later occurrences of triggers.

        Args:
            batches: Batches of the same length.
            vocabulary: The number of tokens.
        """
        sums: list[Tensor] = []
        count = 0
        for batch in batches:
            where = batch.occurrences >= 2
            count += int(where.sum())
            length = batch.tokens.shape[1]
            average = torch.ones(length, length).tril() / torch.arange(1, length + 1)[:, None]
            tokens = average @ functional.one_hot(batch.tokens, vocabulary).float()
            surprise = functional.one_hot(batch.targets[where], vocabulary).float() - 1 / vocabulary
            steps = where.nonzero()[:, 1]
            seen = tokens[where], (average @ tokens)[where], average[steps], (average @ average)[steps]
            tables = [surprise.T @ part for part in seen]
            sums = [a + b for a, b in zip(sums, tables, strict=True)] if sums else tables
        return cls(*(total / count for total in sums))

    def memory(self, model: SimplifiedTransformer) -> Matrix:
        """The negative gradient of W_O² in a model at the idealised start.

        Args:
            model: The model whose random vectors are used; it is not changed.

        Raises:
            ToyError: A model without position vectors.
        """
        if model.pos is None:
            raise ToyError("a rotary model has no position vectors")
        attn, embed = model.first.attn, model.tok_embed.weight
        positions = model.pos.weight[: self.positions.shape[1]]
        with torch.no_grad():
            direct = self.tokens @ embed + self.positions @ positions
            again = attn.o(attn.v(self.tokens_again @ embed + self.positions_again @ positions))
            return outer_products(model.head.weight, model.last.attn.v(direct + again))

    def limit_recall(self) -> float:
        """The output recall of that memory in infinitely many dimensions, where vectors are orthogonal."""
        return recall(self.tokens.T)


def zero(model: SimplifiedTransformer) -> None:
    """Set every learned matrix to zero, the start of section 6."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.zero_()


def margin(scores: Float[Tensor, "query answer"]) -> float:
    """The margin of right answers, on the diagonal, over the average."""
    return float((scores.diagonal() - scores.mean(1)).mean())


def step(model: SimplifiedTransformer, matrix: Learned, batches: Iterable[ToyBatch], sharpness: float) -> None:
    """Replace one matrix by its negative gradient of the in-context loss over all batches, scaled to `sharpness`."""
    weight = learned(model, matrix)
    gradient, count = torch.zeros_like(weight), 0
    for batch in batches:
        again = int((batch.occurrences >= 2).sum())
        (own,) = torch.autograd.grad(batch_loss(model, batch, "in_context"), weight)
        gradient, count = gradient + again * own, count + again
    with torch.no_grad():
        weight.copy_(-gradient / count)
        own = abs(margin(memory_scores(model, matrix)))
        if own:
            weight.mul_(sharpness / own)
