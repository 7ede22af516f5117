"""nanochat as of 3 July 2026."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from laneb.model.recipes.initialisation import draw_blocks, draw_value_embeddings, tables_and_head, uniform_bound
from laneb.model.recipes.polar_express import polar_express
from laneb.model.recipes.recipe import AdamGroup, Architecture, Recipe

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

    from laneb.model.gpt import GPT

GATE_BOUND = 0.02
EXPAND_SHARE = 0.4
SMEAR_RATE = 0.2
"""Of the smear and the share taken back, the same whatever batch and width."""

RESIDUAL_SCALE_SHARE = 0.01
VALUE_EMBEDDING_SHARE = 0.5
MOMENTUM_START, MOMENTUM, MOMENTUM_END, MOMENTUM_STEPS = 0.85, 0.97, 0.90, 400
NORM_MARGIN = 1.01
SHORT_WINDOW_MULTIPLE = 128


def rotary_frequencies(share: Tensor) -> Tensor:
    """100,000^-share radians per position."""
    frequencies: Tensor = 1.0 / 100_000**share
    return frequencies


def short_window(context: int) -> int:
    """A quarter of the context, rounded up to the tiles of attention kernels."""
    return math.ceil(math.ceil(context / 4) / SHORT_WINDOW_MULTIPLE) * SHORT_WINDOW_MULTIPLE


def initialise(model: GPT, source: Generator) -> None:
    """As in February, but smaller embeddings and MLPs, gates that aren't zero, and layers that fade with depth."""
    bound = uniform_bound(model.shape.model_dim)
    tables_and_head(model, source, embedding_deviation=0.8)
    draw_blocks(model, source, bound, expand_share=EXPAND_SHARE)
    assert model.smear_gate is not None and model.smear_scale is not None and model.backout_scale is not None
    model.smear_gate.weight.uniform_(0.0, GATE_BOUND, generator=source)
    draw_value_embeddings(model, source, bound)
    for gate in model.value_gates():
        gate.uniform_(0.0, GATE_BOUND, generator=source)
    for layer in range(model.shape.depth):
        place = layer / max(model.shape.depth - 1, 1)
        model.residual_scales[layer] = 1.15 - 0.10 * place
        model.embedding_scales[layer] = 0.20 - 0.15 * place
    model.smear_scale.zero_()
    model.backout_scale.fill_(0.2)


def orthogonalise(update: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows made equally long before (MuonEq), the whole made as long as an orthogonal matrix after (Muon+)."""
    rows, columns = update.shape[-2:]
    x = update.to(dtype)
    whole = x.norm(dim=(-2, -1), keepdim=True)
    x = x * ((whole / math.sqrt(rows)) / x.norm(dim=-1, keepdim=True).clamp_min(1e-6))
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * NORM_MARGIN + 1e-6)
    x = polar_express(x).float()
    scaled: Tensor = x * (math.sqrt(min(rows, columns)) / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-6))
    return scaled


def momentum(step: int, steps: int, warmdown_steps: int) -> float:
    """0.85 rising to 0.97 over the first 400 steps, then falling to 0.90 over the warmdown."""
    if step < MOMENTUM_STEPS:
        share = step / MOMENTUM_STEPS
        return (1.0 - share) * MOMENTUM_START + share * MOMENTUM
    past = step - (steps - warmdown_steps)
    if past < 0 or warmdown_steps == 0:
        return MOMENTUM
    share = past / warmdown_steps
    return (1.0 - share) * MOMENTUM + share * MOMENTUM_END


def decay(step: int, steps: int) -> float:
    """1 falling to 0 at the horizon as half a cosine wave."""
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))


RECIPE = Recipe(
    name="nanochat-2026-07",
    summary="nanochat's of July 2026",
    architecture=Architecture(
        value_gate_channels=12,
        value_gate_strength=3.0,
        smear_channels=24,
        takes_back_the_middle=True,
        query_key_gain=1.2,
        norm_epsilon=1.1920928955078125e-07,
        short_window=short_window,
        window_is_beyond_itself=True,
        rotary_frequencies=rotary_frequencies,
        rotary_in_bfloat16=False,
    ),
    initialise=initialise,
    adam=(
        AdamGroup(("head",), lambda r: r.unembedding * r.batch * r.width, (0.8, 0.96), 0.01),
        AdamGroup(("token_embedding",), lambda r: r.embedding * r.batch * r.width, (0.8, 0.995), 0.001),
        AdamGroup(
            ("value_embeddings",),
            lambda r: r.embedding * r.batch * r.width * VALUE_EMBEDDING_SHARE,
            (0.8, 0.995),
            0.01,
        ),
        AdamGroup(("residual_scales",), lambda r: r.scalar * r.batch * RESIDUAL_SCALE_SHARE, (0.8, 0.95), 0.05),
        AdamGroup(("embedding_scales",), lambda r: r.scalar * r.batch, (0.96, 0.95)),
        AdamGroup(("smear_gate", "smear_scale", "backout_scale"), lambda r: SMEAR_RATE, (0.8, 0.95)),
    ),
    orthogonalise=orthogonalise,
    row_memory=0.9,
    momentum=momentum,
    decay=decay,
    scales_decay=True,
    rows="packed",
)
