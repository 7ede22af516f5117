"""The conditions on an inference: a table of name, predicate, limit, sentence and remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from laneb.inference import gate_sentences as says
from laneb.inference.calibration import unfinished_reason
from laneb.inference.exponent import Exponent, ExponentStatistics
from laneb.inference.ratio import RatioEstimate
from laneb.inference.solution import Solution
from laneb.inference.warmdown import Warmdown, measure_warmdown, warmdown_pairs
from laneb.knobs import InferenceKnobs
from laneb.records.inference import Gate
from laneb.records.runs import RunResult

__all__ = ["GATES", "GATE_NAMES", "Facts", "judge_gates", "warmdown_gate", "warmdown_pairs"]

MAX_RELATIVE_WIDTH = 0.2
"""Half the interval over the ratio: wider than this, the confirmation's 5 % confirms little."""
EXPONENT_SLACK = 1e-3
"""Exponents this close bend no answer."""


@dataclass(frozen=True)
class Facts:
    """What the gates judge."""

    stats: ExponentStatistics
    exponent: Exponent
    estimate: RatioEstimate
    solution: Solution
    limit_tokens: float
    """Feasibility limit [tokens]."""
    knobs: InferenceKnobs
    runs: int
    """Calibration runs."""
    unfinished: tuple[str, ...]
    """Those that did not finish, each with the reason."""
    warmdown: Warmdown | None

    @property
    def bracketed(self) -> bool:
        """The answer is interpolated between finals that bracket it."""
        factor = self.solution.extrapolation_factor
        return self.estimate.bracketed and (factor is None or factor <= 1)

    @property
    def rests_on_curve(self) -> bool:
        """The answer is the loss curve's: by the closed form, or outside the finals that bracket it."""
        return self.solution.method != "finals" or not self.estimate.bracketed

    @property
    def exponent_bounds(self) -> tuple[float, float]:
        """The finals' own interval of the exponent."""
        low, high = self.estimate.own_alpha_interval
        return low - EXPONENT_SLACK, high + EXPONENT_SLACK

    @property
    def exponent_told(self) -> bool:
        """The fitted exponent is not merely the end of the range that it was looked for in."""
        return self.solution.method != "finals" or not self.estimate.curve.alpha_at_bound

    @property
    def relative_width(self) -> float | None:
        """Half the interval over the answer; None where it is open or there is none."""
        low, high = self.solution.interval
        if self.solution.tokens is None or not np.isfinite(high):
            return None
        return (high - low) / 2 / self.solution.tokens


@dataclass(frozen=True)
class GateRule:
    """One condition. `value` and `limit` are its numbers, None where it has none."""

    name: str
    holds: Callable[[Facts], bool]
    value: Callable[[Facts], float | None]
    limit: Callable[[Facts], float | None]
    finding: Callable[[Facts], str]
    remedy: Callable[[Facts], str]
    blocking: Callable[[Facts], bool] = lambda facts: True
    """Failed, what follows would be wrong (and a fallback run is trained); else only weak."""


def _never(facts: Facts) -> bool:
    return False


def _none(facts: Facts) -> None:
    return None


GATES = (
    GateRule(
        "finished_runs",
        lambda f: not f.unfinished,
        lambda f: float(f.runs - len(f.unfinished)), lambda f: float(f.runs),
        says.finished_runs, says.rerun,
    ),
    GateRule(
        "statistics_quality",
        lambda f: not f.exponent.low_quality,
        lambda f: says.weakest_fit(f.stats), _none,
        says.statistics_quality, says.more_text, blocking=_never,
    ),
    GateRule(
        "plausible_exponent",
        lambda f: f.exponent.usable,
        lambda f: f.exponent.alpha,
        lambda f: f.knobs.alpha_max if (f.exponent.alpha or 0) > f.knobs.alpha_max else f.knobs.alpha_min,
        says.plausible_exponent, says.other_exponent,
    ),
    GateRule(
        "solved",
        lambda f: f.solution.tokens is not None,
        lambda f: f.solution.tokens, _none,
        says.solved, says.solve_remedy,
    ),
    GateRule(
        "feasible",
        lambda f: f.solution.tokens is not None and f.solution.tokens <= f.limit_tokens,
        lambda f: f.solution.tokens, lambda f: f.limit_tokens,
        says.feasible, says.feasible_remedy,
        blocking=lambda f: f.solution.tokens is None or not f.knobs.allow_unreachable,
    ),
    GateRule(
        "fit_quality",
        lambda f: f.exponent_told and f.exponent_bounds[0] <= f.solution.exponent <= f.exponent_bounds[1],
        lambda f: f.solution.exponent,
        lambda f: f.estimate.own_alpha_interval[int(f.solution.exponent > (f.estimate.own_alpha or 0))],
        says.fit_quality, says.fit_remedy, blocking=lambda f: f.rests_on_curve,
    ),
    GateRule(
        "noise_below_spread",
        lambda f: f.estimate.noise_sd < f.estimate.spread,
        lambda f: f.estimate.noise_sd, lambda f: f.estimate.spread,
        says.noise_below_spread, says.further_apart,
    ),
    GateRule(
        "bracketed",
        lambda f: f.bracketed,
        lambda f: f.solution.tokens, lambda f: f.estimate.levels[-1][0],
        says.bracketed, says.beyond_it, blocking=_never,
    ),
    GateRule(
        "extrapolation",
        lambda f: (f.solution.extrapolation_factor or np.inf) <= f.estimate.extrapolation_limit,
        lambda f: f.solution.extrapolation_factor, lambda f: f.estimate.extrapolation_limit,
        says.extrapolation, says.near_it,
    ),
    GateRule(
        "interval",
        lambda f: f.relative_width is not None and f.relative_width <= MAX_RELATIVE_WIDTH and not f.estimate.weak,
        lambda f: f.relative_width, lambda f: MAX_RELATIVE_WIDTH,
        says.interval, says.more_seeds, blocking=_never,
    ),
    GateRule(
        "warmdown_pays",
        lambda f: f.warmdown is not None and f.warmdown.gain >= f.warmdown.needed,
        lambda f: None if f.warmdown is None else f.warmdown.gain,
        lambda f: None if f.warmdown is None else f.warmdown.needed,
        says.warmdown_pays, says.warmdown_remedy, blocking=_never,
    ),
)  # fmt: skip
"""Every gate, in the order in which a reader asks."""

GATE_NAMES = tuple(rule.name for rule in GATES)


def judge_gates(
    *,
    stats: ExponentStatistics,
    exponent: Exponent,
    estimate: RatioEstimate,
    solution: Solution,
    limit_tokens: float,
    knobs: InferenceKnobs,
    runs: Sequence[RunResult],
    baselines: Sequence[RunResult],
) -> tuple[Gate, ...]:
    """All gates of an inference, in the order of `GATES`."""
    facts = Facts(
        stats=stats,
        exponent=exponent,
        estimate=estimate,
        solution=solution,
        limit_tokens=limit_tokens,
        knobs=knobs,
        runs=len(runs),
        unfinished=tuple(f"{run.run_id} {reason}" for run in runs if (reason := unfinished_reason(run))),
        warmdown=measure_warmdown([*runs, *baselines], solution.tokens),
    )
    return tuple(judged(rule, facts) for rule in GATES)


def judged(rule: GateRule, facts: Facts) -> Gate:
    """One gate's record: its numbers, and its sentence with the remedy where it failed."""
    passed = rule.holds(facts)
    value, limit = rule.value(facts), rule.limit(facts)
    return Gate(
        name=rule.name,
        passed=passed,
        severity="blocking" if rule.blocking(facts) else "warning",
        value=value if value is None or np.isfinite(value) else None,
        limit=limit if limit is None or np.isfinite(limit) else None,
        message=rule.finding(facts) if passed else f"{rule.finding(facts)}. {rule.remedy(facts)}",
    )


def warmdown_gate(runs: Sequence[RunResult], tokens: float | None) -> Gate:
    """The gate `warmdown_pays` alone: whether a run finished at horizon N ends clearly below a longer run at step N.

    Where it does not, a longer horizon reaches the threshold first, and no shorter candidate can win.
    """
    warmdown = measure_warmdown(runs, tokens)
    passed = warmdown is not None and warmdown.gain >= warmdown.needed
    finding = says.warmdown_finding(warmdown)
    return Gate(
        name="warmdown_pays",
        passed=passed,
        severity="warning",
        value=None if warmdown is None else warmdown.gain,
        limit=None if warmdown is None else warmdown.needed,
        message=finding if passed else f"{finding}. {says.warmdown_advice(warmdown)}",
    )
