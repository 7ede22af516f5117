"""Where the exponent of the loss curve comes from: statistics, finished runs, baselines' own curves, or a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from laneb.inference.calibration import finals_of
from laneb.inference.lane import ASSUMED_ALPHA, EXPONENT_HORIZONS, fit_cells
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
    weakness: str
    """Why the exponent, or the statistics that gave none, are of low quality; empty where they are not."""
    usable: bool
    """It may set the horizon: the statistics' exponent if plausible and of good quality, any other one if found."""
    free: bool = False
    """It is the finals' own least-squares exponent, so the finals may as well be fitted without it."""
    baseline_alpha: float | None = None
    baseline_median_r2: float | None = None
    baseline_seeds: int = 0
    reason: str = ""
    """Why it is not the statistics' exponent, or why there is none."""

    @property
    def low_quality(self) -> bool:
        """A fit that it rests on is weak, or measures the sample rather than the text."""
        return bool(self.weakness)


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
    weakness = weakness_of(stats, knobs)
    own = Exponent(
        alpha=raw,
        source="stats",
        mapping_id=knobs.paper_mapping_id,
        plausible=is_plausible(raw, knobs),
        raw=raw,
        raw_plausible=is_plausible(raw, knobs),
        weakness=weakness,
        usable=True,
    )
    if knobs.alpha_override is not None:
        return _overridden(own, knobs.alpha_override, knobs)
    complaint = _complaint(own, knobs)
    if not complaint:
        return own
    if knobs.alpha_fallback_mode == "none":
        return replace(own, usable=False, reason=complaint)
    if knobs.alpha_fallback_mode == "calibration":
        return _from_finals(own, complaint, calibration, knobs)
    return _from_baselines(own, complaint, baselines, knobs, required_seeds)


def is_plausible(alpha: float | None, knobs: InferenceKnobs) -> bool:
    """Whether an exponent lies in the customary range."""
    return alpha is not None and knobs.alpha_min <= alpha <= knobs.alpha_max


def weakness_of(stats: ExponentStatistics, knobs: InferenceKnobs) -> str:
    """Why the statistics that the mapping uses are of low quality; empty where they are not.

    A weak R^2, or an entropy of which no three context lengths are bracketed: its exponent measures the sample, however
    good the R^2.
    """
    parts = []
    uses = {"corr_only_v1": ("correlation",), "entropy_only_v1": ("entropy",)}
    used = uses.get(knobs.paper_mapping_id, ("correlation", "entropy"))
    weak = {"correlation": stats.corr_decay_r2_low_quality, "entropy": stats.entropy_decay_r2_low_quality}
    if any(weak[name] for name in used):
        r2 = {"correlation": stats.corr_decay_r2, "entropy": stats.entropy_decay_r2}
        shown = ", ".join(f"{name} R^2 {'unknown' if r2[name] is None else f'{r2[name]:.4f}'}" for name in used)
        parts.append(f"the statistics' fits are weak ({shown})")
    # Statistics that say nothing of it (an earlier reader's) are taken by their R^2 alone.
    if "entropy" in used and getattr(stats, "entropy_usable_fit", True) is None:
        parts.append(
            "no three context lengths of the entropy are bracketed (entropy_usable_fit is null), so its exponent "
            "measures the sample"
        )
    return " and ".join(parts)


def _complaint(own: Exponent, knobs: InferenceKnobs) -> str:
    """Why the statistics' exponent is not used; empty where it is."""
    parts = []
    if own.raw is None:
        parts.append("the statistics give no exponent")
    elif not own.raw_plausible:
        parts.append(f"the statistics' exponent {own.raw:.4g} is outside {knobs.alpha_min:g} to {knobs.alpha_max:g}")
    if own.weakness and not knobs.allow_low_quality_stats:
        parts.append(own.weakness)
    return " and ".join(parts)


def _overridden(own: Exponent, override: float, knobs: InferenceKnobs) -> Exponent:
    return replace(
        own,
        alpha=override,
        source="override",
        mapping_id="alpha_override",
        plausible=is_plausible(override, knobs),
        usable=override > 0,
        reason=f"LANE_B_ALPHA_OVERRIDE={override:g}",
    )


def _from_finals(own: Exponent, complaint: str, calibration: Calibration, knobs: InferenceKnobs) -> Exponent:
    """The exponent of the loss curve over the finals; where that has a negative asymptote, with L_inf held at 0."""
    cells = cells_from(checked_points(finals_of(calibration)))
    runs = f"fitted to the finals of {len(cells.losses)} finished runs"
    if len(cells.horizons) < EXPONENT_HORIZONS:
        alpha, free = ASSUMED_ALPHA, False
        note = f"{len(cells.horizons)} horizons can't tell it, so {ASSUMED_ALPHA:g} is assumed"
    elif (curve := fit_cells(cells, None)).asymptote >= 0:
        alpha, free, note = curve.alpha, True, f"{runs} (R^2 {curve.r2:.4f})"
    else:
        held = fit_cells(cells, None, asymptote_bounds=(0.0, math.inf))
        alpha, free = held.alpha, False
        note = f"{runs} (R^2 {held.r2:.4f}) with L_inf held at 0, since no text has the {curve.asymptote:.3g} that fits"
    return replace(
        own,
        alpha=alpha,
        source="calibration",
        plausible=is_plausible(alpha, knobs),
        free=free,
        reason=f"{complaint}; {note}",
    )


def _from_baselines(
    own: Exponent, complaint: str, baselines: Sequence[RunResult], knobs: InferenceKnobs, required_seeds: Sequence[int]
) -> Exponent:
    """The exponent of the baselines' own curves, of low quality since those are no finished runs."""
    found = search_on_baselines(baselines, knobs, required_seeds)
    own = replace(
        own, baseline_alpha=found.alpha, baseline_median_r2=found.median_r2, baseline_seeds=found.seeds, usable=False
    )
    if found.alpha is None or found.median_r2 is None or found.median_r2 < knobs.baseline_alpha_min_r2:
        shown = "none" if found.median_r2 is None else f"{found.median_r2:.4f}"
        return replace(
            own,
            reason=f"{complaint}; and the baselines' own curves fit with a median R^2 of {shown} over {found.seeds} "
            f"seed(s), where {knobs.baseline_alpha_min_r2:g} is needed",
        )
    within_run = "the baselines' own curves are within-run points, not finished runs"
    return replace(
        own,
        alpha=found.alpha,
        source="baseline_assisted",
        mapping_id="baseline_assisted",
        plausible=is_plausible(found.alpha, knobs),
        weakness=" and ".join(part for part in (own.weakness, within_run) if part),
        usable=True,
        reason=f"{complaint}; searched on {found.seeds} baselines' own curves (within-run points, not finished runs)",
    )


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
