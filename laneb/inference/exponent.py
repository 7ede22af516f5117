"""Where the exponent of the loss curve comes from: statistics, finished runs, baselines' own curves, or a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from laneb.inference.calibration import finals_of
from laneb.inference.lane import ASSUMED_ALPHA, fit_cells
from laneb.inference.levels import cells_from
from laneb.inference.loss_curve import LossCurveError, fit_loss_curve
from laneb.inference.points import checked_points
from laneb.knobs import InferenceKnobs
from laneb.records.calibration import Calibration
from laneb.records.inference import AlphaSource
from laneb.records.runs import RunResult


class ExponentStatistics(Protocol):
    """What of the dataset's statistics decides the exponent."""

    @property
    def corr_decay_exponent(self) -> float | None: ...
    @property
    def corr_decay_r2(self) -> float | None: ...
    @property
    def corr_decay_r2_low_quality(self) -> bool: ...
    @property
    def entropy_decay_exponent(self) -> float | None: ...
    @property
    def entropy_decay_r2(self) -> float | None: ...
    @property
    def entropy_decay_r2_low_quality(self) -> bool: ...
    @property
    def dataset_id(self) -> str: ...
    @property
    def tokenizer_id(self) -> str: ...


@dataclass(frozen=True)
class Exponent:
    """The exponent that the lane uses and how it came about."""

    alpha: float | None
    source: AlphaSource
    mapping_id: str
    plausible: bool
    """The exponent in use lies in the plausible range."""
    raw: float | None
    """What the statistics give."""
    raw_plausible: bool
    low_quality: bool
    """A fit that the mapping uses has a weak R^2."""
    usable: bool
    """It may set the horizon: the statistics' exponent if plausible and of good quality, any other one if found."""
    free: bool = False
    """It is the finals' own least-squares exponent, so the finals may as well be fitted without it."""
    baseline_alpha: float | None = None
    baseline_median_r2: float | None = None
    baseline_seeds: int = 0
    reason: str = ""
    """Why it is not the statistics' exponent, or why there is none."""


def exponent_from_statistics(stats: ExponentStatistics, knobs: InferenceKnobs) -> float | None:
    """The data-scaling exponent that a dataset's statistics give; None where they give none.

    With beta the decay exponent of token correlations and gamma that of the conditional entropy:
    `paper_v1`: gamma / (2 beta) (arXiv:2602.07488); `weighted_mean_v1`: their weighted mean; `corr_only_v1`: beta;
    `entropy_only_v1`: gamma.

    Raises:
        ValueError: `weighted_mean_v1` with both weights 0.
    """
    beta, gamma = stats.corr_decay_exponent, stats.entropy_decay_exponent
    beta = beta if beta is not None and math.isfinite(beta) else None
    gamma = gamma if gamma is not None and math.isfinite(gamma) else None
    if knobs.paper_mapping_id == "corr_only_v1":
        return beta
    if knobs.paper_mapping_id == "entropy_only_v1":
        return gamma
    if beta is None or gamma is None:
        return None
    if knobs.paper_mapping_id == "paper_v1":
        return gamma / (2 * beta) if beta != 0 else None
    weights = knobs.corr_weight + knobs.entropy_weight
    if weights <= 0:
        raise ValueError(
            "weighted_mean_v1 with LANE_B_CORR_WEIGHT = LANE_B_ENTROPY_WEIGHT = 0 has nothing to weigh; one is positive"
        )
    return (knobs.corr_weight * beta + knobs.entropy_weight * gamma) / weights


def choose_exponent(
    stats: ExponentStatistics,
    knobs: InferenceKnobs,
    calibration: Calibration,
    baselines: Sequence[RunResult],
    required_seeds: Sequence[int],
) -> Exponent:
    """The override; else the statistics', if plausible and of good quality; else what the fallback mode finds."""
    raw = exponent_from_statistics(stats, knobs)
    raw_plausible = is_plausible(raw, knobs)
    low_quality = _low_quality(stats, knobs)
    if knobs.alpha_override is not None:
        override = knobs.alpha_override
        return Exponent(
            override, "override", "alpha_override", is_plausible(override, knobs), raw, raw_plausible, low_quality,
            usable=override > 0, reason=f"LANE_B_ALPHA_OVERRIDE={override:g}",
        )  # fmt: skip
    complaint = _complaint(stats, knobs, raw, raw_plausible, low_quality)
    mapping = knobs.paper_mapping_id
    if not complaint:
        return Exponent(raw, "stats", mapping, True, raw, True, low_quality, usable=True)
    unusable = Exponent(
        raw, "stats", mapping, raw_plausible, raw, raw_plausible, low_quality, usable=False, reason=complaint
    )
    if knobs.alpha_fallback_mode == "none":
        return unusable
    if knobs.alpha_fallback_mode == "calibration":
        fitted = _from_finals(calibration)
        return Exponent(
            fitted.alpha, "calibration", mapping, is_plausible(fitted.alpha, knobs), raw, raw_plausible, low_quality,
            usable=True, free=fitted.free, reason=f"{complaint}; {fitted.note}",
        )  # fmt: skip
    found = search_on_baselines(baselines, knobs, required_seeds)
    if found.alpha is None or found.median_r2 is None or found.median_r2 < knobs.baseline_alpha_min_r2:
        shown = "none" if found.median_r2 is None else f"{found.median_r2:.4f}"
        return Exponent(
            raw, "stats", mapping, raw_plausible, raw, raw_plausible, low_quality, usable=False,
            baseline_alpha=found.alpha, baseline_median_r2=found.median_r2, baseline_seeds=found.seeds,
            reason=f"{complaint}; and the baselines' own curves fit with a median R^2 of {shown} over {found.seeds} "
            f"seed(s), where {knobs.baseline_alpha_min_r2:g} is needed",
        )  # fmt: skip
    return Exponent(
        found.alpha, "baseline_assisted", "baseline_assisted", is_plausible(found.alpha, knobs), raw, raw_plausible,
        low_quality, usable=True, baseline_alpha=found.alpha, baseline_median_r2=found.median_r2,
        baseline_seeds=found.seeds,
        reason=f"{complaint}; searched on {found.seeds} baselines' own curves (within-run points, not finished runs)",
    )  # fmt: skip


def is_plausible(alpha: float | None, knobs: InferenceKnobs) -> bool:
    """Whether an exponent lies in the customary range."""
    return alpha is not None and knobs.alpha_min <= alpha <= knobs.alpha_max


def _low_quality(stats: ExponentStatistics, knobs: InferenceKnobs) -> bool:
    uses_correlation = knobs.paper_mapping_id != "entropy_only_v1"
    uses_entropy = knobs.paper_mapping_id != "corr_only_v1"
    return (uses_correlation and stats.corr_decay_r2_low_quality) or (
        uses_entropy and stats.entropy_decay_r2_low_quality
    )


def _complaint(
    stats: ExponentStatistics, knobs: InferenceKnobs, raw: float | None, plausible: bool, low_quality: bool
) -> str:
    parts = []
    if raw is None:
        parts.append("the statistics give no exponent")
    elif not plausible:
        parts.append(f"the statistics' exponent {raw:.4g} is outside {knobs.alpha_min:g} to {knobs.alpha_max:g}")
    if low_quality and not knobs.allow_low_quality_stats:
        fits = [("correlation", stats.corr_decay_r2), ("entropy", stats.entropy_decay_r2)]
        shown = ", ".join(f"{name} R^2 {'unknown' if r2 is None else f'{r2:.4f}'}" for name, r2 in fits)
        parts.append(f"the statistics' fits are weak ({shown})")
    return " and ".join(parts)


@dataclass(frozen=True)
class _Fitted:
    alpha: float
    free: bool
    note: str


def _from_finals(calibration: Calibration) -> _Fitted:
    """The exponent of the loss curve over the finals; where that has a negative asymptote, with L_inf held at 0."""
    cells = cells_from(checked_points(finals_of(calibration)))
    if len(cells.horizons) < 3:
        note = f"{len(cells.horizons)} horizons can't tell it, so {ASSUMED_ALPHA:g} is assumed"
        return _Fitted(ASSUMED_ALPHA, False, note)
    curve = fit_cells(cells, None)
    runs = f"fitted to the finals of {len(cells.losses)} finished runs"
    if curve.asymptote >= 0:
        return _Fitted(curve.alpha, True, f"{runs} (R^2 {curve.r2:.4f})")
    held = fit_cells(cells, None, asymptote_bounds=(0.0, math.inf))
    note = (
        f"{runs} (R^2 {held.r2:.4f}) with L_inf held at 0, since no text has the {curve.asymptote:.3g} that fits best"
    )
    return _Fitted(held.alpha, False, note)


@dataclass(frozen=True)
class BaselineSearch:
    """The best exponent for the baselines' own curves."""

    alpha: float | None
    median_r2: float | None
    seeds: int


def search_on_baselines(
    baselines: Sequence[RunResult], knobs: InferenceKnobs, required_seeds: Sequence[int]
) -> BaselineSearch:
    """Grid-search the exponent whose fixed-alpha curve fits the baselines' validation curves with the best median R^2.

    These are points within runs, which are not a loss curve over horizons (a warmdown leaves a systematic residual
    that a high R^2 hides); kept because people compare with it, marked `baseline_assisted`.
    """
    curves = []
    for run in baselines:
        points = [(point.step * run.total_batch_size, point.bpb) for point in run.val_curve if point.step > 0]
        if run.seed in required_seeds and run.status == "ok" and len(points) >= 3:
            curves.append(points)
    if not curves:
        return BaselineSearch(None, None, 0)
    low, high, step = knobs.baseline_alpha_grid_min, knobs.baseline_alpha_grid_max, knobs.baseline_alpha_grid_step
    if low > high:
        raise ValueError(f"LANE_B_BASELINE_ALPHA_GRID_MIN={low:g} lies above LANE_B_BASELINE_ALPHA_GRID_MAX={high:g}")
    best: tuple[float, float] | None = None
    for index in range(math.floor((high - low) / step + 1e-9) + 1):
        alpha = round(low + index * step, 12)
        fits = []
        for points in curves:
            try:
                fits.append(fit_loss_curve([t for t, _ in points], [loss for _, loss in points], alpha=alpha).r2)
            except LossCurveError:
                continue
        if len(fits) == len(curves) and (best is None or float(np.median(fits)) > best[1]):
            best = (alpha, float(np.median(fits)))
    return BaselineSearch(best[0] if best else None, best[1] if best else None, len(curves))
