"""What the knobs that nobody set stand for: each recipe's own values.

The rest of a recipe is in `laneb.model.recipes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laneb.knobs import Section, TrainingKnobs


@dataclass(frozen=True)
class RecipeKnobs:
    """A recipe's own values. Rates and decay are those before any scaling."""

    embedding_lr: float
    unembedding_lr: float
    matrix_lr: float
    scalar_lr: float
    weight_decay: float
    warmup_steps: int
    """-1: by the warmup ratio, which is 0 where nobody set it."""
    warmdown_ratio: float
    final_lr_share: float
    default_ratio: float


FEBRUARY = RecipeKnobs(
    embedding_lr=0.3,
    unembedding_lr=0.004,
    matrix_lr=0.02,
    scalar_lr=0.5,
    weight_decay=0.2,
    warmup_steps=-1,
    warmdown_ratio=0.5,
    final_lr_share=0.0,
    default_ratio=10.5,
)

JULY = RecipeKnobs(
    embedding_lr=0.3,
    unembedding_lr=0.008,
    matrix_lr=0.02,
    scalar_lr=0.5,
    weight_decay=0.28,
    warmup_steps=40,
    warmdown_ratio=0.65,
    final_lr_share=0.05,
    default_ratio=12.0,
)

RECIPE_KNOBS: Mapping[str, RecipeKnobs] = {"laneb": FEBRUARY, "nanochat-2026-02": FEBRUARY, "nanochat-2026-07": JULY}


def own_values(section: Section, recipe: str) -> dict[str, Any]:
    """The recipe's values of a section's knobs that nobody set, by name.

    A warmup that was set as a share of the horizon stands in place of the recipe's steps, and the other way round.
    """
    values = {
        name: value for name, value in vars(RECIPE_KNOBS[recipe]).items() if getattr(section, name, value) is None
    }
    if isinstance(section, TrainingKnobs):
        if section.warmup_ratio is None:
            values["warmup_ratio"] = 0.0
        elif section.warmup_steps is None:
            values["warmup_steps"] = -1
    return values


def resolved(training: TrainingKnobs, recipe: str) -> TrainingKnobs:
    """The knobs of training with nothing left unset."""
    return training.model_copy(update=own_values(training, recipe))
