"""Lane B's own recipe: February's model, tuned for small runs on a CPU.

It differs from nanochat's of February on purpose: matrices are updated by plain Muon (five Newton-Schulz steps, decay
on every weight), which costs less and learns as fast at the rates of the small profiles; the decay isn't scaled by
batch and model, since those profiles set their rates themselves; the seed decides the order of the text too, so that
the spread over seeds is that of all chance, and not of the weights alone; and rows are cut anywhere, so that no token
of a small corpus is dropped, and validated all over the held-out text.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from laneb.model.recipes.initialisation import draw_value_embeddings
from laneb.model.recipes.nanochat_2026_02 import ADAM_BETAS, EMBEDDING_SCALE_BETAS, RESIDUAL_SCALE_SHARE
from laneb.model.recipes.nanochat_2026_02 import RECIPE as FEBRUARY
from laneb.model.recipes.recipe import AdamGroup, Recipe

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

    from laneb.model.gpt import GPT

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
"""Quintic that drives singular values to about 1. Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon."""


def rotary_frequencies(share: Tensor) -> Tensor:
    """10,000^-share radians per position."""
    frequencies: Tensor = 10_000**-share
    return frequencies


def initialise(model: GPT, source: Generator) -> None:
    """February's distributions, drawn in another order."""
    bound = math.sqrt(3 / model.shape.model_dim)
    model.token_embedding.weight.normal_(0.0, 1.0, generator=source)
    draw_value_embeddings(model, source, bound)
    for block in model.layers():
        attention, mlp = block.attention, block.mlp
        for matrix in (attention.query, attention.key, attention.value, mlp.expand):
            matrix.weight.uniform_(-bound, bound, generator=source)
        attention.output.weight.zero_()
        mlp.contract.weight.zero_()
    for gate in model.value_gates():
        gate.zero_()
    model.head.weight.normal_(0.0, 0.001, generator=source)
    model.residual_scales.fill_(1.0)
    model.embedding_scales.fill_(0.1)


def orthogonalise(update: Tensor, dtype: torch.dtype) -> Tensor:
    """About U V^T of each matrix U S V^T, by Newton-Schulz iteration in the model's number format."""
    a, b, c = NEWTON_SCHULZ
    tall = update.size(1) > update.size(2)
    x = update.to(dtype)
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = x.baddbmm(gram.baddbmm(gram, gram, beta=b, alpha=c), x, beta=a)
    update = x.mT if tall else x
    return update.float()


RECIPE: Recipe = replace(
    FEBRUARY,
    name="laneb",
    summary="February's model with plain Muon, and text in an order that the seed decides",
    architecture=replace(
        FEBRUARY.architecture,
        norm_epsilon=0.0,
        short_window=lambda context: max(1, context // 2),
        window_is_beyond_itself=False,
        rotary_frequencies=rotary_frequencies,
        rotary_in_bfloat16=False,
    ),
    initialise=initialise,
    adam=(
        AdamGroup(("head",), lambda r: r.unembedding * r.batch * r.width, ADAM_BETAS),
        AdamGroup(("token_embedding", "value_embeddings"), lambda r: r.embedding * r.batch * r.width, ADAM_BETAS),
        AdamGroup(("residual_scales",), lambda r: r.scalar * r.batch * RESIDUAL_SCALE_SHARE, ADAM_BETAS),
        AdamGroup(("embedding_scales",), lambda r: r.scalar * r.batch, EMBEDDING_SCALE_BETAS),
    ),
    orthogonalise=orthogonalise,
    row_memory=None,
    scales_decay=False,
    rows="shuffled",
)
