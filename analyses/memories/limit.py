"""The limit of infinitely many dimensions, in few: a model whose vectors are exactly orthogonal.

Random vectors are nearly orthogonal, the more so the more dimensions there are. What the theory says of infinite width
can be computed where they are orthogonal altogether.
"""

from __future__ import annotations

import math

import torch

from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer


@torch.no_grad()
def limit_model(vocabulary: int, length: int) -> SimplifiedTransformer:
    """A model without cross-talk.

    Embeddings, positions, and both as layer 1 writes them anew, are orthogonal to one another and to all unembeddings.
    Lengths are those that the random model's vectors have on average: |w_E|² = |p|² = d, |w_U|² = 1/3, and each random
    matrix shortens by √3. The residual stream itself says nothing through the unembedding, as in the theory; in the
    random model it does, in any dimension.
    """
    span = vocabulary + length
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary, 2 * span + vocabulary, length))
    dim = model.config.dim
    basis = torch.eye(dim)
    model.tok_embed.weight.copy_(math.sqrt(dim) * basis[:vocabulary])
    if model.pos is not None:
        model.pos.weight.copy_(math.sqrt(dim) * basis[vocabulary:span])
    model.head.weight.copy_(basis[2 * span :] / math.sqrt(3))
    # W_V² need not turn anything: what it gives is read by W_O² alone
    model.last.attn.v.weight.copy_(basis / math.sqrt(3))
    model.first.attn.o.weight.copy_(basis / math.sqrt(3))
    model.first.attn.v.weight.copy_(basis.roll(span, 0) / math.sqrt(3))
    return model
