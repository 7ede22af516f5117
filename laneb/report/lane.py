"""What a person reads at the end: the answer, the arms side by side, the verdict, and the seeds' own tally."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laneb.decision.candidates import plan_candidates
from laneb.decision.summary import summarize
from laneb.decision.threshold import target_threshold
from laneb.decision.verdict import judge
from laneb.records.baseline import BaselineThreshold
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.statistics import ContextLossDecay
from laneb.report.answer import CLOCK_MEANINGS, Answer, answer_of
from laneb.report.behind import behind_sentence
from laneb.report.markdown import markdown_table
from laneb.storage import roles
from laneb.training.checkout_knobs import customary_ratio
from laneb.wanted import CandidateRuns, baseline_runs, candidate_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from laneb.records.candidates import Mode
    from laneb.records.runs import RunResult
    from laneb.records.verdict import ArmTime, Look, ModeVerdict, Summary, Verdict
    from laneb.storage.store import Store

ARM_COLUMNS = ("arm", "seed", "steps", "requested", "realised", "min bpb", "to threshold", "pooled clock", "status")
"""Requested and realised are ratios; both times are to the threshold, `>` where a run never reached it."""
NARROW_ARM_COLUMNS = ("arm", "seed", "steps", "asked", "ratio", "bpb", "to goal", "pooled", "status")
"""The same where there is little room."""

TALLY_MEANING = (
    "least time to target among the candidates alone, a seed at a time; it does not ask whether they beat the "
    "baseline, so it can name another mode than the verdict"
)


@dataclass(frozen=True)
class Report:
    """What one experiment says so far. Before candidates have run there is no verdict, of imported rows alone there is
    the tally."""

    experiment: str
    answer: Answer
    inference: Inference | None
    summary: Summary | None
    verdict: Verdict | None
    warnings: tuple[str, ...]
    theory: ContextLossDecay | None = None
    """What the baselines' loss by context makes of the exponent, where it was measured. It decides nothing."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is what it is."""
        return () if self.verdict is None else self.verdict.reasons

    def ratio_line(self) -> str:
        """The inferred ratio with its interval, or why there is none."""
        inference = self.inference
        if inference is None:
            return ""
        if inference.inferred_target_param_data_ratio is None:
            return f"no ratio inferred ({inference.solve_status}); candidates train the fallback ratio"
        low, high = inference.ratio_low, inference.ratio_high
        weak = " (weak)" if inference.finals_interval_weak else ""
        known = low is not None and high is not None
        interval = f"95 % interval {low:.4g} to {high:.4g}{weak}" if known else "no 95 % interval"
        return (
            f"inferred ratio {inference.inferred_target_param_data_ratio:.4g}, {interval}; "
            f"threshold {inference.target_metric_threshold:.6f} bpb; exponent {inference.alpha_source}"
        )

    def reach_line(self) -> str:
        """What a run of a new seed will do, and where the expected time is least; empty where that is not known."""
        inference = self.inference
        if inference is None or inference.inferred_reach_probability is None:
            return ""
        said = f"a run of a new seed reaches the threshold with probability {inference.inferred_reach_probability:.2f}"
        if inference.confirmation_reach_probability is not None:
            said += f" at the inferred ratio, {inference.confirmation_reach_probability:.2f} at the confirmation"
        if inference.reach_ratio is not None:
            said += f", and {inference.reach_probability:g} from ratio {inference.reach_ratio:.4g} on"
        if inference.least_time_ratio is not None:
            costs = ", ".join(
                f"{row.off:+.0%} {'never ends' if row.cost is None else f'costs {row.cost:.1%}'}"
                for row in inference.least_time_costs
            )
            said += f"; the expected time is least at {inference.least_time_ratio:.4g} ({costs})"
        return said

    def theory_line(self) -> str:
        """Theory's exponent, from these models and this text, beside the one in use; empty where there is none."""
        theory = self.theory
        if theory is None or theory.gamma is None or theory.alpha is None or self.inference is None:
            return ""
        interval = "" if theory.gamma_interval is None else " ({:.2f} to {:.2f})".format(*theory.gamma_interval)
        used = self.inference.inferred_data_scaling_exponent
        return (
            f"theory's exponent gamma / (2 beta) = {theory.gamma:.2f}{interval} / (2 x {theory.beta:.2f}) = "
            f"{theory.alpha:.2f}, from the baselines' loss by context and the text's correlations; in use: "
            + ("none" if used is None else f"{used:.2f}")
        )

    def arm_rows(self, *, narrow: bool = False) -> list[tuple[str, ...]]:
        """A row per run, of `ARM_COLUMNS`; narrow ones are without what a time would be extrapolated to."""
        rows = [] if self.verdict is None else [_arm_row(arm) for arm in self.verdict.arms]
        return [tuple(cell.partition(" (")[0] for cell in row) for row in rows] if narrow else rows

    def arm_table(self) -> str:
        """The runs as a table in Markdown."""
        return markdown_table(ARM_COLUMNS, self.arm_rows())

    def small_arm_table(self) -> str:
        """The same for half a window: units stand above their numbers, and no status where all are ok."""
        header = [f"{name} [s]" if name in ("to goal", "pooled") else name for name in NARROW_ARM_COLUMNS]
        rows = [[cell.removesuffix(" s") for cell in row] for row in self.arm_rows(narrow=True)]
        if all(row[-1] == "ok" for row in rows):
            header, rows = header[:-1], [row[:-1] for row in rows]
        return markdown_table(header, rows)

    def tally_line(self) -> str:
        """Who won the seeds among candidates, and the `lane_b_decision` that follows; empty without rows."""
        if self.summary is None:
            return ""
        seeds = ", ".join(f"{winner.seed}: {winner.winner}" for winner in self.summary.winners)
        recommended = self.summary.recommended_lane_b_decision
        mode = None if self.verdict is None else self.verdict.mode
        other = f" (by the candidates alone; the verdict names {mode})" if mode not in (None, recommended) else ""
        return f"seed tally among candidates: {seeds or 'none'}; recommended lane_b_decision: {recommended}{other}"

    def lines(self) -> list[str]:
        """The sentences that stand under the table."""
        lines = (
            self.ratio_line(), self.reach_line(), self.theory_line(), self.level_line(), self.benefit_line(),
            self.tally_line(),
        )  # fmt: skip
        return [line for line in lines if line]

    def level_line(self) -> str:
        """What this look at the verdict's mode took, and what is left for further ones."""
        modes = () if self.verdict is None else self.verdict.modes
        judged = next((mode for mode in modes if self.verdict and mode.mode == self.verdict.mode), None)
        if judged is None or judged.look is None or judged.level_left is None:
            return ""
        return (
            f"look at {judged.look.pairs} pairs: t {_number(judged.look.statistic)}, {_number(judged.critical)} is "
            f"needed; of the 5 % of lanes without a gain that may ever be accepted, {judged.level_left:.2%} are left "
            f"for more seeds{_gain_range(judged)}"
        )

    def benefit_line(self) -> str:
        """What calibration cost and how many runs pay for it; empty where that is not known."""
        benefit = None if self.verdict is None else self.verdict.net_benefit
        if benefit is None:
            return ""
        pays = (
            f"{benefit.runs_to_pay} further runs pay for it"
            if benefit.runs_to_pay is not None
            else "which saves nothing, so that nothing pays for it"
        )
        clock = "measured seconds" if benefit.clock == "measured" else "steps at the pooled step time"
        return (
            f"calibration took {benefit.calibration_sec:.0f} s of training ({clock}, as the gain); a run reaches the "
            f"threshold {benefit.saved_per_run_sec:.3g} s sooner, {pays}"
        )

    def markdown(self) -> str:
        """The report as Markdown."""
        table = [self.arm_table(), "", *(f"*{name}*: {meaning}." for name, meaning in CLOCK_MEANINGS.items()), ""]
        lines = [
            f"**{self.answer.sentence}.**",
            "",
            *(f"- {reason}" for reason in self.reasons),
            "",
            *(table if self.verdict else []),
            *(text for line in self.lines() for text in (f"{line[:1].upper()}{line[1:]}.", "")),
            *(["**Warnings**", "", *(f"- {warning}" for warning in self.warnings)] if self.warnings else []),
        ]
        return "\n".join(lines).rstrip() + "\n"

    def to_json_dict(self) -> dict[str, Any]:
        """What `laneb summary --json` prints: of imported rows alone, the tally's own keys stand at the top too."""
        inference, verdict, summary = self.inference, self.verdict, self.summary
        tally = None if summary is None else summary.model_dump(mode="json")
        alone = {} if tally is None or inference is not None else tally
        return alone | {
            "experiment": self.experiment,
            "answer": self.answer.sentence,
            "answer_kind": self.answer.kind,
            "decision": None if verdict is None else verdict.decision,
            "summary": tally,
            "verdict": None if verdict is None else verdict.model_dump(mode="json"),
            "inferred_target_param_data_ratio": inference and inference.inferred_target_param_data_ratio,
            "ratio_interval": [inference and inference.ratio_low, inference and inference.ratio_high],
            "target_metric_threshold": inference and inference.target_metric_threshold,
            "solve_status": inference and inference.solve_status,
            "promotable": inference and inference.promotable,
            "theory_alpha": None if self.theory is None else self.theory.alpha,
            "warnings": list(self.warnings),
        }


def report_of(store: Store, experiment: str, rows: pd.DataFrame, looks: Sequence[Look] = ()) -> Report:
    """The report of an experiment, from what is there of it.

    Args:
        store: where its records lie.
        experiment: its name.
        rows: its current rows of the schema table.
        looks: the looks at its evidence so far.

    Raises:
        ValueError: nothing of it is there, or a record is damaged; what to run is named.
    """
    if not store.has(Inference):
        if not len(rows):
            store.read(Experiment)
        summary = summarize(rows) if len(rows) else None
        return Report(experiment, answer_of(None, None, summary), None, summary, None, ())
    inference, settings = store.read(Inference), store.read(Experiment)
    found = candidate_runs(store, settings, inference)
    runs, requested = _planned(found, settings, inference)
    baselines = baseline_runs(store, settings)
    calibration = _calibration(store, settings)
    verdict = None
    if runs:
        verdict = judge(
            baselines=baselines,
            candidates=runs,
            threshold=inference.target_metric_threshold,
            requested_ratios=requested,
            knobs=settings.candidates,
            looks=looks,
            calibration=calibration,
        )
    behind = behind_sentence(store, settings, inference, baselines, calibration)
    _, difference = target_threshold(store.read(BaselineThreshold), settings.threshold.target_threshold)
    failed = [gate.message for gate in inference.gates if not gate.passed]
    judged = [] if verdict is None else verdict.warnings
    warnings = [behind, difference, *found.sentences, *judged, *failed, *inference.warnings]
    warnings += _earlier(rows, requested)
    return Report(
        experiment=experiment,
        answer=answer_of(inference, verdict),
        inference=inference,
        summary=summarize(rows) if len(rows) else None,
        verdict=verdict,
        warnings=tuple(dict.fromkeys(warning for warning in warnings if warning)),
        theory=_theory(store, baselines),
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _gain_range(judged: ModeVerdict) -> str:
    low, high = judged.gain_bounds
    return "" if low is None or high is None else f"; the gain is above {low:.1%} and below {high:.1%} (95 % each)"


def _theory(store: Store, baselines: list[RunResult]) -> ContextLossDecay | None:
    """The loss by context, if it was measured on these baselines: no step waits for it, so it may be older."""
    if not store.has(ContextLossDecay):
        return None
    decay = store.read(ContextLossDecay)
    return decay if set(decay.fingerprints) <= {run.fingerprint for run in baselines} else None


def _planned(
    found: CandidateRuns, experiment: Experiment, inference: Inference
) -> tuple[dict[Mode, list[RunResult]], dict[str, float]]:
    """The planned candidates that have run, by mode, and their requested ratios by mode and run."""
    runs: dict[Mode, list[RunResult]] = {}
    requested: dict[str, float] = {}
    default_ratio = customary_ratio(experiment)
    for seed in experiment.candidates.run_seeds:
        for candidate in plan_candidates(inference, seed=seed, default_ratio=default_ratio):
            requested[candidate.mode] = requested[candidate.run_id] = candidate.ratio
            if (candidate.mode, seed) in found.runs:
                runs.setdefault(candidate.mode, []).append(found.runs[candidate.mode, seed])
    return runs, requested


def _calibration(store: Store, experiment: Experiment) -> list[RunResult]:
    """The calibration runs that are there: what they cost is told, and decides nothing."""
    wanted = [
        roles.calibration_role(steps, seed)
        for steps in experiment.calibration.iterations
        for seed in experiment.calibration.all_seeds
    ]
    return [run for run in map(store.whole_run, wanted) if run is not None]


def _earlier(rows: pd.DataFrame, requested: dict[str, float]) -> list[str]:
    """Rows that are current beside the campaign's own: imported ones."""
    return [
        f"the current row of {run_id} was imported; it counts in the tally"
        for run_id in rows["run_id"]
        if run_id not in requested
    ]


def _arm_row(arm: ArmTime) -> tuple[str, ...]:
    clock = "-" if arm.pooled_sec is None else f"{'' if arm.reached else '>'}{arm.pooled_sec:.2f} s"
    return (
        arm.arm,
        str(arm.seed),
        f"{arm.steps:,}",
        "-" if arm.requested_ratio is None else f"{arm.requested_ratio:.4g}",
        f"{arm.realised_ratio:.4g}",
        "-" if arm.min_val_bpb is None else f"{arm.min_val_bpb:.4f}",
        _time(arm),
        clock,
        arm.status,
    )


def _time(arm: ArmTime) -> str:
    """Measured and interpolated; a run that never reached the target is censored at its end (`>`)."""
    if arm.interpolated_sec is None:
        return "-"
    if arm.reached:
        return f"{arm.interpolated_sec:.2f} s"
    beyond = "" if arm.extrapolated_sec is None else f" (extrapolated {arm.extrapolated_sec:.2f} s)"
    return f">{arm.interpolated_sec:.2f} s{beyond}"
