"""Plots of the lane: small PNGs in metadata, the same at full size in the work directory."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from laneb.records.calibration import Calibration
from laneb.records.inference import Inference
from laneb.records.runs import RunResult
from laneb.records.statistics import DatasetStats
from laneb.records.verdict import Verdict
from laneb.storage.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METADATA_DPI = 72
"""Dagster keeps every materialization's metadata: about 25 kB a plot."""
FULL_DPI = 160
ARM_COLORS = {"baseline": "#6b7280", "inferred": "#2563eb", "confirmation": "#059669", "fallback": "#d97706"}


def plotted(store: Store, name: str, figure: "Figure") -> dg.MetadataValue:
    """Keep a figure in the work directory, and give it as metadata that the UI shows."""
    store.write_plot(f"{name}.png", _png(figure, FULL_DPI))
    small = base64.b64encode(_png(figure, METADATA_DPI)).decode()
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{small})")


def statistics_figure(stats: DatasetStats) -> "Figure":
    """Decay of correlation and conditional entropy, with fits."""
    from laneb.statistics import fit_power_law

    figure, (left, right) = _axes(2)
    lags = [point.separation for point in stats.corr_curve]
    norms = [point.frobenius_norm for point in stats.corr_curve]
    fit = fit_power_law(lags, norms)
    left.loglog(lags, norms, "o", markersize=3, color="#2563eb")
    left.loglog(
        lags,
        [fit.amplitude * lag**-fit.exponent for lag in lags],
        color="#111827",
        linewidth=1,
        label=f"exponent {stats.corr_decay_exponent:.3f}, R² {stats.corr_decay_r2:.3f}",
    )
    left.set(xlabel="lag [tokens]", ylabel="‖C(n)‖ Frobenius", title="correlation")
    left.legend(frameon=False, fontsize=8)

    contexts = [point.context_len for point in stats.entropy_curve]
    bits = [point.conditional_entropy_bits for point in stats.entropy_curve]
    right.semilogx(contexts, bits, "o-", markersize=3, color="#2563eb", linewidth=1, label="plug-in")
    if stats.entropy_decay_exponent is not None:
        label = f"exponent {stats.entropy_decay_exponent:.3f}, R² {stats.entropy_decay_r2:.3f}"
        right.axhline(stats.entropy_h_inf_bits or 0.0, color="#111827", linewidth=1, linestyle=":", label=label)
    right.set(xlabel="context [tokens]", ylabel="H(next | context) [bits]", title="conditional entropy")
    right.legend(frameon=False, fontsize=8)
    return figure


def training_curves_figure(runs: Sequence[RunResult], threshold: float | None) -> "Figure":
    """Validation bpb over steps, a line per run, with the threshold."""
    figure, (axes,) = _axes(1)
    for run in runs:
        steps = [point.step for point in run.val_curve if point.step > 0]
        losses = [point.bpb for point in run.val_curve if point.step > 0]
        axes.plot(steps, losses, linewidth=1, label=f"seed {run.seed}, {run.steps} steps")
    if threshold is not None:
        axes.axhline(threshold, color="#dc2626", linewidth=1, linestyle="--", label=f"threshold {threshold:.4f}")
    axes.set(xlabel="step", ylabel="validation bpb")
    axes.legend(frameon=False, fontsize=7)
    return figure


def loss_curve_figure(inference: Inference, calibration: Calibration) -> "Figure":
    """Finals of finished runs, the fitted curve, the threshold, and the inferred horizon with its interval."""
    figure, (axes,) = _axes(1)
    for seed in sorted({point.seed for point in calibration.points}):
        own = [point for point in calibration.points if point.seed == seed]
        axes.plot([p.tokens for p in own], [p.loss for p in own], "o", markersize=4, label=f"finals, seed {seed}")
    tokens = [point.tokens for point in calibration.points]
    shown = [*tokens, *([inference.inferred_target_tokens] if inference.inferred_target_tokens else [])]
    low, high = min(shown) * 0.9, max(shown) * 1.1
    amplitude, asymptote, alpha = inference.finals_amplitude, inference.finals_asymptote, inference.finals_alpha
    if amplitude is not None and asymptote is not None and alpha is not None:
        grid = [low * (high / low) ** (step / 100) for step in range(101)]
        axes.plot(grid, [asymptote + amplitude * value**-alpha for value in grid], color="#111827", linewidth=1)
    axes.axhline(inference.target_metric_threshold, color="#dc2626", linewidth=1, linestyle="--", label="threshold")
    if inference.inferred_target_tokens is not None:
        ratio = inference.inferred_target_param_data_ratio
        axes.axvline(
            inference.inferred_target_tokens, color="#2563eb", linewidth=1, label=f"inferred, ratio {ratio:.4g}"
        )
    if inference.finals_ratio_low is not None and inference.finals_ratio_high is not None:
        scale = inference.n_scaling_params
        axes.axvspan(
            inference.finals_ratio_low * scale, inference.finals_ratio_high * scale, color="#2563eb", alpha=0.15
        )
    axes.set(xscale="log", xlabel="training tokens", ylabel="final validation bpb", xlim=(low, high))
    axes.legend(frameon=False, fontsize=7)
    return figure


def crossing_times_figure(verdict: Verdict) -> "Figure":
    """Time to the threshold by arm and seed, on the pooled-step clock; hollow: never reached, censored at its end."""
    figure, (axes,) = _axes(1)
    arms = list(dict.fromkeys(arm.arm for arm in verdict.arms))
    for arm in verdict.arms:
        seconds = arm.pooled_sec if arm.pooled_sec is not None else arm.interpolated_sec
        if seconds is None:
            continue
        color = ARM_COLORS.get(arm.arm, "#111827")
        face = color if arm.reached else "none"
        axes.plot(seconds, arms.index(arm.arm), "o", color=color, markerfacecolor=face, markersize=7)
        axes.annotate(str(arm.seed), (seconds, arms.index(arm.arm)), (0, 7), textcoords="offset points", fontsize=7)
    axes.set(yticks=range(len(arms)), yticklabels=arms, xlabel="time to threshold [s]", ylim=(-0.6, len(arms) - 0.4))
    axes.invert_yaxis()
    return figure


def _axes(columns: int) -> "tuple[Figure, list[Axes]]":
    # The figure is made without pyplot, whose global state several runs in one process would share.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns + 1.2, 3.4), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.grid(alpha=0.25, linewidth=0.5)
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _png(figure: "Figure", dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
