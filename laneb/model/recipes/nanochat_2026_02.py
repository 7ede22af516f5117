"""nanochat from 6 February to 2 March 2026."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneb.model.recipes.initialisation import draw_blocks, draw_value_embeddings, tables_and_head, uniform_bound
from laneb.model.recipes.polar_express import polar_express
from laneb.model.recipes.recipe import AdamGroup, Architecture, Recipe

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

    from laneb.model.gpt import GPT

ADAM_BETAS = (0.8, 0.95)
EMBEDDING_SCALE_BETAS = (0.96, 0.95)
RESIDUAL_SCALE_SHARE = 0.01
"""The residual scales multiply whole layers, so they learn this much slower than the other scalars."""

MOMENTUM_START, MOMENTUM, MOMENTUM_STEPS = 0.85, 0.95, 300
NORM_MARGIN = 1.02


def rotary_frequencies(share: Tensor) -> Tensor:
    """10,000^-share radians per position."""
    frequencies: Tensor = 1.0 / 10_000**share
    return frequencies


def initialise(model: GPT, source: Generator) -> None:
    """Embeddings normal, the rest uniform, projections into the stream and gates of value embeddings zero."""
    bound = uniform_bound(model.shape.model_dim)
    tables_and_head(model, source, embedding_deviation=1.0)
    draw_blocks(model, source, bound, expand_share=1.0)
    draw_value_embeddings(model, source, bound)
    for gate in model.value_gates():
        gate.zero_()
    model.residual_scales.fill_(1.0)
    model.embedding_scales.fill_(0.1)


def orthogonalise(update: Tensor, dtype: torch.dtype) -> Tensor:
    """Always in bfloat16, whatever the model computes in."""
    x = update.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * NORM_MARGIN + 1e-6)
    return polar_express(x).float()


def momentum(step: int, steps: int, warmdown_steps: int) -> float:
    """0.85 rising linearly to 0.95 over the first 300 steps, whatever the horizon."""
    share = min(step / MOMENTUM_STEPS, 1.0)
    return (1.0 - share) * MOMENTUM_START + share * MOMENTUM


def decay(step: int, steps: int) -> float:
    """1 falling linearly to 0 at the horizon."""
    return 1.0 - step / steps


RECIPE = Recipe(
    name="nanochat-2026-02",
    summary="nanochat's of February 2026",
    architecture=Architecture(
        value_gate_channels=32,
        value_gate_strength=2.0,
        smear_channels=0,
        takes_back_the_middle=False,
        query_key_gain=1.0,
        norm_epsilon=1.1920928955078125e-07,
        short_window=lambda context: context // 2,
        window_is_beyond_itself=True,
        rotary_frequencies=rotary_frequencies,
        rotary_in_bfloat16=True,
    ),
    initialise=initialise,
    adam=(
        AdamGroup(("head",), lambda r: r.unembedding * r.batch * r.width, ADAM_BETAS),
        AdamGroup(("token_embedding",), lambda r: r.embedding * r.batch * r.width, ADAM_BETAS),
        AdamGroup(("value_embeddings",), lambda r: r.embedding * r.batch * r.width, ADAM_BETAS),
        AdamGroup(("residual_scales",), lambda r: r.scalar * r.batch * RESIDUAL_SCALE_SHARE, ADAM_BETAS),
        AdamGroup(("embedding_scales",), lambda r: r.scalar * r.batch, EMBEDDING_SCALE_BETAS),
    ),
    orthogonalise=orthogonalise,
    row_memory=0.95,
    momentum=momentum,
    decay=decay,
    scales_decay=True,
    rows="packed",
)
