"""Plots of the lane: small PNGs in metadata, the same at full size in the work directory."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np

from laneb.records.calibration import Calibration
from laneb.records.inference import Inference
from laneb.records.runs import RunResult
from laneb.records.verdict import Verdict
from laneb.storage.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

METADATA_DPI = 72
METADATA_COLORS = 128
"""Dagster keeps every materialization's metadata: a palette makes it 15 kB a plot, a quarter."""
FULL_DPI = 160
INK, GREY, BLUE, GREEN, RED, AMBER = "#111827", "#6b7280", "#2563eb", "#059669", "#dc2626", "#d97706"
ARM_COLORS = {"baseline": GREY, "inferred": BLUE, "confirmation": GREEN, "fallback": AMBER}


def plotted(store: Store, name: str, figure: "Figure") -> dg.MetadataValue:
    """Keep a figure in the work directory, and give it as metadata that the UI shows."""
    picture = _drawn(figure)
    store.write_plot(f"{name}.png", _png(picture))
    small = base64.b64encode(_png(_reduced(picture), optimize=True)).decode()
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{small})")


def training_curves_figure(runs: Sequence[RunResult], threshold: float | None) -> "Figure":
    """Validation bpb over steps, a line per run, with the threshold; colours tell horizons, or seeds of one horizon."""
    figure, (axes,) = new_axes(1)
    horizons = sorted({run.steps for run in runs})
    kinds: dict[tuple[int, ...], list[RunResult]] = {}
    for run in runs:
        kinds.setdefault((run.steps,) if len(horizons) > 1 else (run.steps, run.seed), []).append(run)
    for number, alike in enumerate(kinds.values()):
        seeds = f"seed{'s' if len(alike) > 1 else ''} {', '.join(str(run.seed) for run in alike)}"
        for run in alike:
            steps = [point.step for point in run.val_curve if point.step > 0]
            losses = [point.bpb for point in run.val_curve if point.step > 0]
            label = f"{run.steps:,} steps, {seeds}" if run is alike[0] else None
            axes.plot(steps, losses, linewidth=1.2, color=f"C{number}", label=label)
    if threshold is not None:
        axes.axhline(threshold, color=RED, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.4f}")
    axes.set(xlabel="step", ylabel="validation bpb")
    axes.legend(frameon=False, fontsize=8)
    return figure


def loss_curve_figure(inference: Inference, calibration: Calibration) -> "Figure":
    """Finals of finished runs, the fitted curve, the threshold, and the inferred horizon with its interval."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    figure, (axes,) = new_axes(1)
    for number, seed in enumerate(sorted({point.seed for point in calibration.points})):
        own = [point for point in calibration.points if point.seed == seed]
        style = {"marker": "os^Dv"[number % 5], "color": f"C{number}", "markerfacecolor": "none"}
        axes.plot([p.tokens for p in own], [p.loss for p in own], linestyle="", label=f"finals, seed {seed}", **style)
    tokens = [point.tokens for point in calibration.points]
    shown = [*tokens, *([inference.inferred_target_tokens] if inference.inferred_target_tokens else [])]
    low, high = min(shown) * 0.9, max(shown) * 1.1
    amplitude, asymptote, alpha = inference.finals_amplitude, inference.finals_asymptote, inference.finals_alpha
    if amplitude is not None and asymptote is not None and alpha is not None:
        grid = [low * (high / low) ** (step / 100) for step in range(101)]
        label = f"fit, exponent {alpha:.2f}"
        axes.plot(grid, [asymptote + amplitude * n**-alpha for n in grid], color=INK, linewidth=1.2, label=label)
    label = f"threshold {inference.target_metric_threshold:.4f}"
    axes.axhline(inference.target_metric_threshold, color=RED, linewidth=1.2, linestyle="--", label=label)
    if inference.inferred_target_tokens is not None:
        label = f"inferred, ratio {inference.inferred_target_param_data_ratio:.4g}"
        axes.axvline(inference.inferred_target_tokens, color=BLUE, linewidth=1.2, label=label)
    if inference.ratio_low is not None and inference.ratio_high is not None:
        ends = [ratio * inference.n_scaling_params for ratio in (inference.ratio_low, inference.ratio_high)]
        axes.axvspan(*ends, color=BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    axes.set(xscale="log", xlabel="training tokens", ylabel="final validation bpb", xlim=(low, high))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8)
    return figure


def crossing_times_figure(verdict: Verdict) -> "Figure":
    """Time to the threshold by arm and seed, on the pooled-step clock; hollow: never reached, censored at its end."""
    figure, (axes,) = new_axes(1)
    arms = list(dict.fromkeys(arm.arm for arm in verdict.arms))
    seeds = sorted({arm.seed for arm in verdict.arms})
    for arm in verdict.arms:
        seconds = arm.pooled_sec if arm.pooled_sec is not None else arm.interpolated_sec
        if seconds is None:
            continue
        color = ARM_COLORS.get(arm.arm, INK)
        place = arms.index(arm.arm) + 0.6 * (seeds.index(arm.seed) + 0.5) / len(seeds) - 0.3
        axes.plot(seconds, place, "o", color=color, markerfacecolor=color if arm.reached else "white", markersize=6)
        axes.annotate(f"seed {arm.seed}", (seconds, place), (7, -3), textcoords="offset points", fontsize=8)
    axes.set(yticks=range(len(arms)), yticklabels=arms, ylim=(len(arms) - 0.5, -0.5))
    note = "" if all(arm.reached for arm in verdict.arms) else "; hollow: not reached by its end"
    axes.set_xlabel(f"time to threshold [s]{note}")
    axes.margins(x=0.12)
    return figure


def new_axes(columns: int) -> "tuple[Figure, list[Axes]]":
    """An empty figure of so many panels side by side, in the style of all."""
    # The figure is made without pyplot, whose global state several runs in one process would share.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns + 1.2, 3.6), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.grid(alpha=0.25, linewidth=0.5)
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def tokens_axis(axes: "Axes", values: Sequence[float]) -> None:
    """Powers of two along a logarithmic axis of tokens."""
    ticks = [2**power for power in range(64) if min(values) <= 2**power <= max(values)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _drawn(figure: "Figure") -> "Image":
    """A figure at full size; drawn once, since laying it out takes most of the time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(FULL_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _reduced(picture: "Image") -> "Image":
    from PIL import Image

    width, height = (round(side * METADATA_DPI / FULL_DPI) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS).quantize(METADATA_COLORS, dither=Image.Dither.NONE)


def _png(picture: "Image", *, optimize: bool = False) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=optimize)
    return buffer.getvalue()
