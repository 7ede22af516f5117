"""What a recipe is made of: its numbers, and the small functions in which dated recipes differ.

What its knobs stand for where nobody set them is in `laneb.recipe_knobs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

    from laneb.model.gpt import GPT


@dataclass(frozen=True)
class Architecture:
    """How the forward pass of a recipe differs from the others of its family.

    Attributes:
        value_gate_channels: leading channels of a layer's input that decide how much value embedding a head takes in.
        value_gate_strength: the gate at its most.
        smear_channels: leading channels that decide how much of the token before is mixed into each; 0: none is.
        takes_back_the_middle: whether the output of the middle layer is taken off again, in a learned share.
        query_key_gain: factor on the normed queries and on the normed keys.
        norm_epsilon: added to the mean square; 0: vectors of next to no length are left short.
        short_window: context -> tokens that a layer S sees.
        window_is_beyond_itself: whether a window counts the tokens before a position, or the position too.
        rotary_frequencies: shares 0 to 1 of the head's width -> radians per position.
        rotary_in_bfloat16: whether the tables are rounded to bfloat16 whatever the model computes in.
    """

    value_gate_channels: int
    value_gate_strength: float
    smear_channels: int
    takes_back_the_middle: bool
    query_key_gain: float
    norm_epsilon: float
    short_window: Callable[[int], int]
    window_is_beyond_itself: bool
    rotary_frequencies: Callable[[Tensor], Tensor]
    rotary_in_bfloat16: bool


@dataclass(frozen=True)
class Rates:
    """What a group's rate is made of: the knobs, and the factors for batch and width."""

    embedding: float
    unembedding: float
    scalar: float
    batch: float
    width: float


@dataclass(frozen=True)
class AdamGroup:
    """Parameters that Adam updates alike.

    Attributes:
        parameters: attributes of the model.
        rate: of the group, before the schedule.
        betas: memories of mean and square.
        decay: decoupled, constant over the run.
    """

    parameters: tuple[str, ...]
    rate: Callable[[Rates], float]
    betas: tuple[float, float]
    decay: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a model is built, initialised, updated and fed.

    Attributes:
        name: as `LANE_B_RECIPE` says it.
        summary: one line for people.
        architecture: of the model.
        initialise: fills the weights from a generator.
        adam: groups of tables, head and scalars.
        orthogonalise: momentum of matrices (n, R, K) and the model's number format -> their update, in float32.
        row_memory: of NorMuon's running row sizes, with cautious decay; None: neither.
        momentum: step, horizon, warmdown steps -> Muon's momentum.
        decay: step, horizon -> multiplier of Muon's decay.
        scales_decay: whether the decay follows batch and model size.
        rows: how text becomes rows: whole documents packed, or cut anywhere and shuffled by the seed.
    """

    name: str
    summary: str
    architecture: Architecture
    initialise: Callable[[GPT, Generator], None]
    adam: tuple[AdamGroup, ...]
    orthogonalise: Callable[[Tensor, torch.dtype], Tensor]
    row_memory: float | None
    momentum: Callable[[int, int, int], float]
    decay: Callable[[int, int], float]
    scales_decay: bool
    rows: Literal["packed", "shuffled"]
