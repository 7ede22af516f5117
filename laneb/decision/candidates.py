"""Which runs try the inferred ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from laneb.records.candidates import Mode

if TYPE_CHECKING:
    from laneb.records.inference import Inference


class Candidate(NamedTuple):
    """A run to train: its readable name, seed, mode and requested tokens per scaling parameter."""

    run_id: str
    seed: int
    mode: Mode
    ratio: float


def plan_candidates(inference: Inference, *, seed: int, default_ratio: float) -> list[Candidate]:
    """The candidate runs of one seed: inferred and confirmation, or one fallback at the default ratio.

    The confirmation ratio is 1.05 times the inferred one or, by LANE_B_CONFIRMATION_RULE=reach, the one from which on a
    new run reaches the threshold with LANE_B_REACH_PROBABILITY (`confirmation_rule` of the inference says which).

    The fallback stands in when the inference is not promotable, so that a lane always ends in a trained run.

    >>> from types import SimpleNamespace
    >>> found = SimpleNamespace(promotable=True, inferred_target_param_data_ratio=9.5, confirmation_ratio=9.975)
    >>> [(run.run_id, run.ratio) for run in plan_candidates(found, seed=41, default_ratio=10.5)]
    [('laneb_inferred_s41', 9.5), ('laneb_confirmation_s41', 9.975)]
    """
    inferred, confirmation = inference.inferred_target_param_data_ratio, inference.confirmation_ratio
    if not inference.promotable or inferred is None or confirmation is None:
        return [_candidate("fallback", seed, default_ratio)]
    return [_candidate("inferred", seed, inferred), _candidate("confirmation", seed, confirmation)]


def _candidate(mode: Mode, seed: int, ratio: float) -> Candidate:
    return Candidate(f"laneb_{mode}_s{seed}", seed, mode, ratio)
