"""Plots of the statistics: decay of correlation, of conditional entropy, and of the loss with context."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from laneb.records.statistics import ContextLossDecay, DatasetStats
from laneb_assets.views.plots import AMBER, BLUE, GREEN, GREY, INK, RED, new_axes, tokens_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def statistics_figure(stats: DatasetStats) -> "Figure":
    """Decay of correlation and conditional entropy: what was measured, with its fit, its noise and its bounds."""
    figure, (left, right) = new_axes(2)
    _correlation(left, stats)
    _entropy(right, stats)
    return figure


def _correlation(axes: "Axes", stats: DatasetStats) -> None:
    lags = [point.separation for point in stats.corr_curve]
    above = [point for point in stats.corr_curve if point.above_noise]
    within = [point for point in stats.corr_curve if not point.above_noise]
    for points, face, label in ((above, BLUE, "above the noise"), (within, "white", "within the noise")):
        if points:
            at, norms = [point.separation for point in points], [point.frobenius_norm for point in points]
            label = f"{len(points)} of {len(lags)} lags {label}"
            axes.plot(at, norms, "o", markersize=3.5, color=BLUE, markerfacecolor=face, label=label)
    raw = (stats.corr_decay_amplitude, stats.corr_decay_exponent, stats.corr_decay_r2)
    _law(axes, lags, "fit", *raw, color=INK)
    if corrected := stats.corr_corrected_fit:
        law = (corrected.amplitude, corrected.exponent, corrected.r2)
        _law(axes, lags, "fit, noise taken off", *law, color=GREEN, linestyle="--")
    if stats.corr_document_floor is not None:
        axes.axhline(stats.corr_document_floor, color=AMBER, linewidth=1.2, linestyle="-.", label="shuffled documents")
    floor = [point.noise_floor for point in stats.corr_curve if point.noise_floor]
    if len(floor) == len(lags):
        axes.plot(lags, floor, color=GREY, linewidth=1.2, linestyle=":", label="independent tokens (noise)")
    lowest = min([point.frobenius_norm for point in stats.corr_curve] + floor)
    if len({point.frobenius_norm for point in stats.corr_curve}) == 1:
        # A logarithmic scale has no room around one value.
        axes.set_ylim(0.6 * lowest, 1.7 * stats.corr_curve[0].frobenius_norm)
    axes.set(xscale="log", yscale="log", xlabel="lag n [tokens]", ylabel="‖C(n)‖", title="correlation at a distance")
    # A steep fit would squeeze the points that it leaves.
    axes.set_ylim(bottom=0.6 * lowest)
    tokens_axis(axes, lags)
    axes.legend(frameon=False, fontsize=8)


def _entropy(axes: "Axes", stats: DatasetStats) -> None:
    estimates = stats.entropy_estimates
    asked = [estimate.context_len for estimate in estimates]
    usable = stats.entropy_usable_context_lens
    if usable:
        label = "usable: the bracket is narrow"
        axes.axvspan(min(usable) / 1.15, max(usable) * 1.15, color=GREEN, alpha=0.15, linewidth=0, label=label)
    low, high = [estimate.plug_in_bits for estimate in estimates], [estimate.held_out_bits for estimate in estimates]
    label = "bracket" if usable else "bracket: too wide everywhere"
    axes.fill_between(asked, low, high, color=GREY, alpha=0.15, linewidth=0, label=label)
    axes.plot(asked, high, "v-", markersize=4, color=RED, linewidth=1, label="held-out upper bound")
    axes.plot(asked, [e.grassberger_bits for e in estimates], "D", markersize=3.5, color=GREEN, label="Grassberger")
    fitted = [point.context_len for point in stats.entropy_curve]
    left_out = [estimate for estimate in estimates if estimate.context_len not in fitted]
    bits = [point.conditional_entropy_bits for point in stats.entropy_curve]
    axes.plot(fitted, bits, "o", markersize=4.5, color=BLUE, label="plug-in")
    if left_out:
        at, starved = [e.context_len for e in left_out], [e.plug_in_bits for e in left_out]
        axes.plot(at, starved, "o", markersize=4.5, color=BLUE, markerfacecolor="white", label="plug-in, starved")
    law = (stats.entropy_decay_amplitude, stats.entropy_decay_exponent, stats.entropy_decay_r2)
    _law(axes, fitted, "fit", *law, offset=stats.entropy_h_inf_bits or 0.0, color=INK)
    axes.set(xscale="log", xlabel="context [tokens]", ylabel="bits per token", title="entropy of the next token")
    axes.set_ylim(bottom=-0.03 * max([*high, *bits, 1.0]))
    tokens_axis(axes, asked or fitted)
    axes.legend(frameon=False, fontsize=8)


def _law(
    axes: "Axes",
    x: Sequence[float],
    name: str,
    amplitude: float | None,
    exponent: float | None,
    r2: float | None,
    *,
    offset: float = 0.0,
    interval: tuple[float, float] | None = None,
    **style: str,
) -> None:
    """The curve of a fit over the range of x, where there is a fit."""
    if amplitude is None or exponent is None or not x:
        return
    grid = np.geomspace(min(x), max(x), 101)
    curve = [offset + amplitude * _power(n, -exponent) for n in grid.tolist()]
    label = f"{name}: exponent {exponent:.3f}"
    label += "" if interval is None else " ({:.2f} to {:.2f})".format(*interval)
    label += "" if r2 is None else f", R² {r2:.3f}"
    axes.plot(grid, curve, linewidth=1.2, label=label, **style)


def _power(n: float, exponent: float) -> float:
    """n ** exponent; a fit to almost nothing can have any exponent, and what is beyond floating point isn't drawn."""
    try:
        return float(n**exponent)
    except OverflowError:
        return math.nan


def context_loss_figure(decay: ContextLossDecay) -> "Figure":
    """The baselines' loss by the length of context, with standard errors and the fitted power law."""
    from laneb.statistics.context_loss import context_of

    figure, (axes,) = new_axes(1)
    contexts = [context_of(point) for point in decay.curve]
    bits, errors = [point.bits for point in decay.curve], [point.error for point in decay.curve]
    label = f"mean over {decay.rows:,} rows, standard error"
    axes.errorbar(contexts, bits, errors, fmt="o", markersize=4, color=BLUE, elinewidth=1, label=label)
    if decay.h_inf_bits is not None:
        law = (decay.amplitude, decay.gamma, decay.r2)
        _law(axes, contexts, "fit", *law, offset=decay.h_inf_bits, interval=decay.gamma_interval, color=INK)
        axes.axhline(
            decay.h_inf_bits, color=GREY, linewidth=1.2, linestyle=":", label=f"h∞ {decay.h_inf_bits:.2f} bits"
        )
    title = f"loss by context of {len(decay.run_ids)} baseline(s)"
    axes.set(xscale="log", xlabel="context [tokens]", ylabel="loss [bits per token]", title=title)
    tokens_axis(axes, contexts)
    axes.legend(frameon=False, fontsize=8)
    return figure
