"""Validation curves of all runs, against steps and against seconds: interactive for the report, still for the UI.

Colours are Okabe and Ito's, which the colour-blind tell apart; arms differ in their dashes too. A legend stands below.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laneb.report.curves import ARMS, Curve, bpb_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARM_COLORS = {
    "baseline": "#8a8a8a",
    "calibration": "#56b4e9",
    "inferred": "#0072b2",
    "confirmation": "#009e73",
    "fallback": "#e69f00",
}
THRESHOLD_COLOR = "#d55e00"
DASHES = {"baseline": [6, 3], "calibration": [2, 2], "inferred": [1, 0], "confirmation": [10, 2], "fallback": [4, 1]}
AXES = {"step": "step", "seconds": "training time [s]"}
STILL_WIDTH, HEIGHT = 620, 320
_INK = "currentColor"
"""The page's own text colour, so that one picture serves light and dark."""


@dataclass(frozen=True)
class Chart:
    """One panel: a still SVG for readers without scripts, and the Vega-Lite spec that scripts draw in its place."""

    name: str
    alt: str
    svg: str
    spec: dict[str, Any]


def curve_charts(curves: Sequence[Curve], threshold: float | None) -> list[Chart]:
    """The curves against steps and against seconds; none where no run was evaluated."""
    import vl_convert

    shown = [curve for curve in curves if curve.points]
    charts = []
    for field, title in AXES.items() if shown else ():
        spec = _spec(shown, threshold, field, title)
        svg = vl_convert.vegalite_to_svg({**spec, "width": STILL_WIDTH})
        charts.append(Chart(field, described(shown, threshold, field), svg, spec))
    return charts


@functools.cache
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed whole, as one script that needs no network."""
    import vl_convert

    return str(vl_convert.javascript_bundle()).replace("</script", "<\\/script")


def described(curves: Sequence[Curve], threshold: float | None, field: str) -> str:
    """What is seen, in words."""
    unit = "steps" if field == "step" else "seconds of training"
    parts = []
    for arm in ARMS:
        own = [curve for curve in curves if curve.arm == arm]
        if not own:
            continue
        lowest = min(point.bpb for curve in own for point in curve.points)
        crossed = [curve.crossing[0 if field == "step" else 1] for curve in own if curve.crossing]
        text = f"{len(own)} {arm} run{'s' if len(own) > 1 else ''} down to {lowest:.4f}"
        if threshold is not None:
            text += f", {len(crossed)} of them below the threshold"
            text += f" at {min(crossed):,.4g} to {max(crossed):,.4g}" if crossed else ""
        parts.append(text)
    goal = "" if threshold is None else f" The threshold is {threshold:.4f}."
    return f"Validation bits per byte against {unit}: {'; '.join(parts)}.{goal}"


def _spec(curves: Sequence[Curve], threshold: float | None, field: str, title: str) -> dict[str, Any]:
    import altair as alt

    arms = [arm for arm in ARMS if any(curve.arm == arm for curve in curves)]
    low, high = bpb_range(list(curves), threshold)
    rows = [
        {"arm": c.arm, "seed": c.seed, "run": f"{c.arm} {c.steps} {c.seed}", "step": p.step,
         "seconds": round(p.seconds, 2), "bpb": round(p.bpb, 5)}
        for c in curves for p in c.points
    ]  # fmt: skip
    crossings = [
        {"arm": c.arm, "seed": c.seed, "step": round(c.crossing[0], 1), "seconds": round(c.crossing[1], 2),
         "bpb": threshold}
        for c in curves if c.crossing
    ]  # fmt: skip
    picked = alt.selection_point(fields=["arm"], bind="legend", name=f"arm_{field}")
    x = alt.X(f"{field}:Q", title=title)
    y = alt.Y("bpb:Q", title="validation bpb", scale=alt.Scale(domain=[low, high], clamp=False))
    color = alt.Color(
        "arm:N", title=None, scale=alt.Scale(domain=arms, range=[ARM_COLORS[arm] for arm in arms]),
        legend=alt.Legend(orient="bottom", symbolType="stroke", symbolStrokeWidth=3, columns=3),
    )  # fmt: skip
    dash = alt.StrokeDash("arm:N", scale=alt.Scale(domain=arms, range=[DASHES[arm] for arm in arms]), title=None)
    hover = [
        alt.Tooltip("arm:N"), alt.Tooltip("seed:Q"), alt.Tooltip("step:Q", format=","),
        alt.Tooltip("seconds:Q", format=".2f", title="seconds"), alt.Tooltip("bpb:Q", format=".4f"),
    ]  # fmt: skip
    opacity = alt.condition(picked, alt.value(0.9), alt.value(0.1))
    # By name: altair copies and checks again what it is handed, at every call.
    datasets: dict[str, list[dict[str, Any]]] = {"curves": rows}
    data = alt.NamedData("curves")
    lines = (
        alt.Chart(data).mark_line(clip=True, strokeWidth=1.6).encode(x, y, color, dash, opacity=opacity, detail="run:N")
    )
    dots = alt.Chart(data).mark_circle(clip=True, size=26).encode(x, y, color, opacity=opacity, tooltip=hover)
    layers: list[Any] = [lines.add_params(picked), dots]
    if threshold is not None:
        datasets |= {"goal": [{"bpb": threshold, "says": f"threshold {threshold:.4f}"}], "crossings": crossings}
        layers.append(
            alt.Chart(alt.NamedData("goal")).mark_rule(color=THRESHOLD_COLOR, strokeDash=[5, 3], size=1.5).encode(y=y)
        )
        layers.append(
            alt.Chart(alt.NamedData("crossings")).mark_point(shape="diamond", size=70, filled=False, strokeWidth=2)
            .encode(x, y, color, opacity=opacity, tooltip=hover)
        )  # fmt: skip
    figure = alt.layer(*layers).properties(width="container", height=HEIGHT, background="transparent")
    axis = {"labelColor": _INK, "titleColor": _INK, "domainColor": _INK, "tickColor": _INK, "gridOpacity": 0.25}
    figure = figure.configure_axis(**axis).configure_legend(labelColor=_INK).configure_view(stroke=None)
    made: dict[str, Any] = figure.interactive().to_dict()
    made.pop("$schema")  # an address, which nothing needs
    return {**made, "datasets": datasets}


def curves_figure(curves: Sequence[Curve], threshold: float | None, faint: Sequence[Curve] = ()) -> "Figure":
    """The same as a still picture; `faint`: other runs, to compare with."""
    from matplotlib.collections import LineCollection

    from laneb_assets.views.plots import new_axes

    figure, panels = new_axes(2)
    everything = [*faint, *curves]
    for axes, (field, title) in zip(panels, AXES.items(), strict=True):
        lines = [list(zip(*_along(curve, field), strict=True)) for curve in faint]
        axes.add_collection(LineCollection(lines, colors="#8a8a8a", linewidths=0.8, alpha=0.45))
        for curve in curves:
            color = ARM_COLORS.get(curve.arm, "#111827")
            dashes = DASHES.get(curve.arm, [1, 0])
            style = "solid" if dashes == [1, 0] else (0, tuple(dashes))
            axes.plot(*_along(curve, field), color=color, linewidth=1.3, linestyle=style)
            if curve.crossing and threshold is not None:
                at = curve.crossing[0 if field == "step" else 1]
                axes.plot(at, threshold, "D", color=color, markerfacecolor="none", markersize=5)
        if threshold is not None:
            axes.axhline(threshold, color=THRESHOLD_COLOR, linewidth=1.2, linestyle="--")
        axes.set(xlabel=title, ylabel="validation bpb")
        if any(curve.points for curve in everything):
            axes.set_ylim(*bpb_range(everything, threshold))
    _legend_below(figure, curves, threshold, bool(faint))
    return figure


def _legend_below(figure: Any, curves: Sequence[Curve], threshold: float | None, faint: bool) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for arm in ARMS:
        own = sorted({curve.seed for curve in curves if curve.arm == arm})
        if own:
            label = f"{arm}, seed{'s' if len(own) > 1 else ''} {', '.join(map(str, own))}"
            handles.append(Line2D([], [], color=ARM_COLORS[arm], label=label))
    if faint:
        handles.append(Line2D([], [], color="#8a8a8a", alpha=0.45, label="the lane's other runs"))
    if threshold is not None:
        label = f"threshold {threshold:.4f} (diamond: crossing)"
        handles.append(Line2D([], [], color=THRESHOLD_COLOR, linestyle="--", label=label))
    columns = min(3, len(handles))
    # Margins for every lane's labels, since finding out the least takes longer than all the drawing. A run draws one.
    figure.set_layout_engine(None)
    width, height = figure.get_size_inches()
    below = 0.55 + 0.17 * math.ceil(len(handles) / columns)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, bottom=below / height, top=1 - 0.12 / height, wspace=0.24
    )
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=8, borderaxespad=0.1)


def _along(curve: Curve, field: str) -> tuple[list[float], list[float]]:
    return [getattr(point, field) for point in curve.points], [point.bpb for point in curve.points]
