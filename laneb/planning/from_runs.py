"""A loss surface like a lane that was run: what its runs say about the next one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from laneb.inference.loss_curve import LossCurve, LossCurveError, fit_loss_curve
from laneb.records.runs import RunResult
from laneb.storage import roles
from laneb.training.surface import Surface

if TYPE_CHECKING:
    from laneb.plan import Sections
    from laneb.storage.store import Store


def surface_like(runs: Sequence[RunResult], otherwise: Surface | None = None) -> Surface | None:
    """The surface that finished runs lie on, with their seeds' spread, noise, warmdown and pace; None of too few.

    L_inf, A and alpha as `fit_loss_curve` finds them; the noise is its residual's sd, the seeds' spread what their
    effects vary by beyond it; the warmdown gives what a run lies above the curve when its warmdown begins. What the
    runs can't tell is taken from `otherwise`, the default surface.

    Args:
        runs: of one shape and recipe, finished ones count; three horizons at least.
        otherwise: for what they can't tell.
    """
    assumed = otherwise or Surface()
    done = {run.fingerprint: run for run in runs if run.status == "ok" and run.min_val_bpb is not None}
    points = sorted(done.values(), key=lambda run: (run.tokens, run.seed))
    try:
        curve = fit_loss_curve(
            [run.tokens for run in points],
            [run.min_val_bpb or 0.0 for run in points],
            seeds=[run.seed for run in points],
        )
    except LossCurveError:
        return None
    if curve.amplitude <= 0 or curve.asymptote < 0:
        return None
    effects = list(curve.seed_effects.values())
    noise = curve.residual_sd if curve.residual_freedom > 0 else assumed.noise_sd
    times = [run.dt_median_ms / 1000 for run in points if run.dt_median_ms]
    return assumed.model_copy(
        update={
            "asymptote": curve.asymptote,
            "amplitude": curve.amplitude * float(points[0].n_scaling_params ** -curve.alpha),
            "exponent": curve.alpha,
            "noise_sd": noise,
            "seed_sd": _spread_beyond(effects, noise) if len(effects) > 1 else assumed.seed_sd,
            "warmdown_gain": _warmdown_gain(points, curve, assumed.warmdown_gain),
            "seconds_per_step": median(times) if times else assumed.seconds_per_step,
        }
    )


def runs_of(store: Store, settings: Sections) -> list[RunResult]:
    """The baselines and calibration runs of an experiment that are there, of its latest recipe; none without any."""
    names = [
        *(roles.baseline_role(seed) for seed in settings.baseline.seeds),
        *(
            roles.calibration_role(steps, seed)
            for steps in settings.calibration.iterations
            for seed in settings.calibration.all_seeds
        ),
    ]
    found = [store.read_run(name, "") for name in names if store.has_run(name)]
    latest = max(found, key=lambda run: run.timestamp_utc, default=None)
    return [run for run in found if latest is not None and run.recipe == latest.recipe]


def _spread_beyond(effects: Sequence[float], noise: float) -> float:
    """Sd of effects whose estimates scatter by the runs' noise too."""
    mean = fmean(effects)
    variance = sum((effect - mean) ** 2 for effect in effects) / (len(effects) - 1)
    return float(max(variance - noise**2 / 2, 0.0) ** 0.5)


def _warmdown_gain(runs: Sequence[RunResult], curve: LossCurve, otherwise: float) -> float:
    """How far runs lie above the curve where their warmdown begins, on average [bpb]."""
    above = []
    for run in runs:
        begins = (1 - run.warmdown_ratio) * run.steps
        before = [point for point in run.val_curve if 0 < point.step <= begins]
        if before and run.warmdown_ratio > 0:
            tokens = before[-1].step * run.total_batch_size
            above.append(before[-1].bpb - float(curve.loss(tokens)) - curve.seed_effects.get(run.seed, 0.0))
    return max(0.0, fmean(above)) if above else otherwise
