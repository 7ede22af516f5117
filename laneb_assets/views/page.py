"""report.html: the answer on one self-contained page, fit to be sent to people who were not there.

It reads on a phone, in light and dark, without a network and without scripts: the curves are pictures first, and
scripts that lie in the page itself make them answer to the pointer.
"""

import base64
import contextlib
import json
from collections.abc import Iterable, Sequence
from html import escape

from laneb.records.base import utc_now
from laneb.records.inference import Inference
from laneb.records.plan import Plan
from laneb.report.answer import CLOCK_MEANINGS
from laneb.report.comparison import COMPARISON_COLUMNS
from laneb.report.curves import lane_curves
from laneb.report.lane import ARM_COLUMNS, TALLY_MEANING, Report
from laneb.report.plan import assumptions, next_sentence, plan_columns, plan_rows
from laneb.report.provenance import provenance_of
from laneb.storage.store import Store
from laneb_assets.views.curves import Chart, curve_charts, scripts
from laneb_assets.views.page_style import STYLE

STILLS = {
    "crossing_times": "Time to the threshold by arm and seed; hollow: never reached, so censored at the run's end.",
    "dataset_stats": "Decay of correlation and conditional entropy in the corpus, with fits, noise and bounds.",
    "context_loss": "The baselines' loss by the length of context, with standard errors and the fitted power law.",
}
TERMS = {
    "bpb": "bits per byte of validation text: the loss, whatever the tokenizer",
    "ratio": "training tokens per scaling parameter",
    "requested, realised": "the ratio that was asked for, and the one that whole steps make of it",
    "min bpb": "the lowest validation loss of the run",
    "to threshold": "the run's own seconds at the crossing; > where it never crossed, then at its end",
}
GATE_COLUMNS = ("gate", "state", "value", "limit", "what it found, and what to do")
SENSITIVITY_COLUMNS = ("what", "change", "ratio", "moved by", "status")


def report_page(
    report: Report, store: Store, experiments: Sequence[Sequence[str]] = (), plan: Plan | None = None
) -> str:
    """The page's HTML, of what there is: plots that aren't made yet are left out, as are a comparison of one experiment
    and a plan where none is given."""
    from laneb.records.experiment import Experiment

    experiment = store.read(Experiment) if store.has(Experiment) else None
    inference = report.inference
    threshold = None if inference is None else inference.target_metric_threshold
    charts = [] if experiment is None else curve_charts(lane_curves(store, experiment, threshold), threshold)
    rows = report.arm_rows()
    sections = [
        _answer(report),
        _section("Curves", "Validation loss of every run, as it trained.", *map(_chart, charts)) if charts else "",
        _runs(report) if rows else "",
        _section("Seed tally", f"{TALLY_MEANING[:1].upper()}{TALLY_MEANING[1:]}.", _paragraph(report.tally_line()))
        if report.tally_line()
        else "",
        _ratio(report, inference, store) if inference is not None else "",
        _section("Warnings", "", _list(report.warnings)) if report.warnings else "",
        "" if plan is None else _plan(plan),
        _section("Behind it", "", *(_still(store, name, caption) for name, caption in STILLS.items())),
        _section("Experiments side by side", "", _table(COMPARISON_COLUMNS, experiments)) if experiments else "",
        "" if experiment is None else _section("Where it comes from", "", _facts(provenance_of(store, experiment))),
        f"<footer>Made {escape(utc_now())} by Lane B.</footer>",
    ]
    return _document(f"Lane B, {report.experiment}", "\n".join(sections), charts)


def _document(title: str, body: str, charts: Sequence[Chart]) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    drawn = ""
    if charts:
        specs = json.dumps({chart.name: chart.spec for chart in charts}, allow_nan=False).replace("</", "<\\/")
        drawn = f"<script>{scripts()}</script>\n<script>{_DRAW.replace('SPECS', specs)}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main>{drawn}</body></html>\n'


_DRAW = """
const specs = SPECS;
for (const [name, spec] of Object.entries(specs)) {
  const place = document.getElementById("chart-" + name), still = place.innerHTML;
  vegaEmbed(place, spec, {renderer: "svg", actions: false}).catch(() => { place.innerHTML = still; });
}
"""


def _answer(report: Report) -> str:
    kind = report.answer.kind
    return (
        f"<h1>Lane B, {escape(report.experiment)}</h1>"
        f'<p class="answer {kind.split()[0]}"><b>{escape(kind)}</b> '
        f'<span id="answer">{escape(report.answer.sentence)}.</span></p>{_list(report.reasons)}'
    )


def _runs(report: Report) -> str:
    clocks = {name: meaning for name, meaning in CLOCK_MEANINGS.items() if name != "measured seconds"}
    terms = _facts([*TERMS.items(), *clocks.items()])
    return _section(
        "Runs, arm by arm",
        "",
        terms,
        _table(ARM_COLUMNS, report.arm_rows()),
        *(_paragraph(line) for line in (report.level_line(), report.benefit_line()) if line),
    )


def _ratio(report: Report, inference: Inference, store: Store) -> str:
    gates = [
        (gate.name.replace("_", " "), "holds" if gate.passed else f"fails ({gate.severity})", _number(gate.value),
         _number(gate.limit), gate.message)
        for gate in inference.gates
    ]  # fmt: skip
    sensitivity = [
        (row.what, row.change, _number(row.ratio), "" if row.relative_change is None else f"{row.relative_change:+.1%}",
         row.status)
        for row in inference.sensitivity
    ]  # fmt: skip
    return _section(
        "The ratio",
        "A run's final loss falls with the tokens it trains on as L(D) = L_inf + A D^-exponent, over finished runs of "
        "different horizons. The horizon at which that curve meets the threshold gives the ratio; the interval holds "
        "what seeds and exponent leave open.",
        *(_paragraph(line) for line in (report.ratio_line(), report.theory_line()) if line),
        _still(store, "loss_curve", _loss_curve_words(inference)),
        "<h3>Gates</h3><p class=note>Conditions on the inference: a blocking one that fails sends candidates to the "
        "fallback ratio.</p>" + _table(GATE_COLUMNS, gates, wide=True),
        *(
            [
                "<h3>Sensitivity</h3><p class=note>How the ratio moves when one thing is changed or left out.</p>"
                + _table(SENSITIVITY_COLUMNS, sensitivity)
            ]
            if sensitivity
            else []
        ),
    )


def _plan(plan: Plan) -> str:
    """What further runs would bring."""
    step = plan.next_step
    return _section(
        "The next run",
        "What this design can be expected to find out when it is trained anew, and the run that narrows the ratio's "
        "interval most per second.",
        _paragraph(next_sentence(step)) if step else _paragraph("no single seed or horizon more narrows the interval"),
        _list(plan.problems),
        _table(plan_columns(plan), plan_rows(plan)),
        f"<p class=note>{escape(assumptions(plan))}.</p>",
    )


def _loss_curve_words(inference: Inference) -> str:
    ends = ""
    if inference.calib_tokens:
        ends = (
            f" from {inference.calib_metrics[0]:.4f} at {inference.calib_tokens[0]:,} tokens to "
            f"{inference.calib_metrics[-1]:.4f} at {inference.calib_tokens[-1]:,}"
        )
    found = "no horizon" if inference.inferred_target_tokens is None else f"{inference.inferred_target_tokens:,.0f}"
    return (
        f"Final loss of finished runs by training tokens, falling{ends} (medians), with the fitted curve, which meets "
        f"the threshold {inference.target_metric_threshold:.4f} at {found} tokens; shaded: the 95 % interval."
    )


def _section(title: str, note: str, *parts: str) -> str:
    if not any(parts):
        return ""
    explained = f"<p class=note>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{explained}{''.join(parts)}</section>"


def _paragraph(line: str) -> str:
    return f"<p>{escape(line[:1].upper() + line[1:])}.</p>"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows) + "</dl>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, wide: bool = False) -> str:
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll" tabindex="0"><table{" class=wide" if wide else ""}><tr>{head}</tr>{body}</table></div>'


def _chart(chart: Chart) -> str:
    return (
        f'<figure><div class="chart" id="chart-{chart.name}" role="img" aria-label="{escape(chart.alt)}">{chart.svg}'
        f"</div><figcaption>{escape(chart.alt)}</figcaption></figure>"
    )


def _still(store: Store, name: str, caption: str) -> str:
    with contextlib.suppress(OSError):
        data = base64.b64encode((store.locations.plots_dir / f"{name}.png").read_bytes()).decode()
        image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
    return ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
