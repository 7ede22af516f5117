"""report.html: the answer on one self-contained page, for people who were not there."""

import base64
import contextlib
from collections.abc import Iterable, Sequence
from html import escape

from laneb.records.base import utc_now
from laneb.report.comparison import COMPARISON_COLUMNS
from laneb.report.lane import ARM_COLUMNS, Report
from laneb.storage.store import Store

PLOTS = {
    "loss_curve": "Finals of finished runs, the fitted curve, the threshold, and the inferred horizon.",
    "crossing_times": "Time to the threshold by arm and seed; hollow: never reached, censored at the run's end.",
    "baseline_runs": "The baselines' validation curves and the threshold.",
    "calibration_runs": "The calibration runs' validation curves.",
    "dataset_stats": "Decay of correlation and conditional entropy in the corpus, with fits, noise and bounds.",
    "context_loss": "The baselines' loss by the length of context, with standard errors and the fitted power law.",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } .ACCEPT { color: #047857 } .REJECT { color: #b91c1c } .INCONCLUSIVE { color: #b45309 }
table { border-collapse: collapse } th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #e5e7eb }
th:first-child, td:first-child { text-align: left } img { max-width: 100% } figure { margin: 1.5rem 0 }
figcaption { color: #6b7280; font-size: .9rem }
"""


def report_page(report: Report, store: Store, experiments: Sequence[Sequence[str]]) -> str:
    """The page's HTML; plots that aren't made yet are left out, and so is a comparison of one experiment."""
    decision = report.answer.kind
    parts = [
        f"<h1>Lane B, {escape(report.experiment)}: <span class={decision}>{decision}</span></h1>",
        f"<p>{escape(report.answer.sentence)}.</p>",
        _list(report.reasons),
        "<p>" + ".<br>".join(escape(line) for line in report.lines()) + ".</p>",
        _table(ARM_COLUMNS, report.arm_rows()),
        *(["<h2>Warnings</h2>", _list(report.warnings)] if report.warnings else []),
        *(_figure(store, name, caption) for name, caption in PLOTS.items()),
        *(["<h2>Experiments side by side</h2>", _table(COMPARISON_COLUMNS, experiments)] if experiments else []),
        f"<p>Made {escape(utc_now())}.</p>",
    ]
    head = f'<meta charset="utf-8"><title>Lane B, {escape(report.experiment)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(store: Store, name: str, caption: str) -> str:
    with contextlib.suppress(OSError):
        data = base64.b64encode((store.locations.plots_dir / f"{name}.png").read_bytes()).decode()
        image = f'<img alt="{name}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
    return ""
