"""The answer in one sentence, the same wherever it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from laneb.records.inference import Inference
    from laneb.records.verdict import ArmTime, ModeVerdict, PairedTest, Summary, Verdict

Kind = Literal["ACCEPT", "REJECT", "INCONCLUSIVE", "fallback", "imported", "no candidates yet"]

CLOCKS = {
    "pooled_step": "the pooled-step clock",
    "measured": "measured seconds",
}
"""What the verdict's clocks are called in a sentence."""

CLOCK_MEANINGS = {
    "pooled-step clock": (
        "the step at which a run crosses the threshold, times one step time pooled over all runs: what the same run "
        "takes on a machine that is equally fast for all"
    ),
    "measured seconds": "the run's own training time at that crossing, interpolated between two evaluations",
}


@dataclass(frozen=True)
class Answer:
    """What the lane says, in a sentence."""

    kind: Kind
    sentence: str


def answer_of(inference: Inference | None, verdict: Verdict | None, imported: Summary | None = None) -> Answer:
    """The answer, from what is there of it.

    Args:
        inference: the inference, once it is made.
        verdict: the verdict on the candidates, once they have run.
        imported: the tally of schema rows whose runs are not here.
    """
    if inference is not None and verdict is not None:
        return _judged(inference, verdict)
    if imported is not None:
        return _imported(imported)
    if inference is None:
        return Answer("no candidates yet", "No answer yet: no ratio is inferred. Next: laneb run makes what is missing")
    return _before_candidates(inference)


def share(part: float) -> str:
    """A share in percent, to two digits of what matters."""
    return f"{part:.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whatever reads best."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.2g} minutes" if minutes < 10 else f"{minutes:.0f} minutes"
    return f"{minutes / 60:.3g} hours"


def tokens(count: float) -> str:
    """A number of tokens: exact where it is short."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.4g} {name} tokens"
    return f"{count:,.0f} tokens"


def _judged(inference: Inference, verdict: Verdict) -> Answer:
    judged = next((mode for mode in verdict.modes if mode.mode == verdict.mode), verdict.modes[0])
    test = judged.pooled_test if judged.deciding_clock == "pooled_step" else judged.measured_test
    found = f"{_found(verdict, judged, test)}{_saving(test)} ({_evidence(verdict, judged, test)})"
    arm = [row for row in verdict.arms if row.arm == judged.mode]
    if not inference.promotable:
        finding, remedy = _why_not_promotable(inference)
        return Answer(
            "fallback", f"No ratio to trust: {finding}. The fallback, {_horizon(arm)}: {found}. Next: {remedy}"
        )
    horizon = _horizon(arm, inference)
    if verdict.decision == "ACCEPT":
        return Answer("ACCEPT", f"Train {horizon}: {found}")
    if verdict.decision == "REJECT":
        advice = "keep the baseline's horizon, or ask for less (a larger LANE_B_THRESHOLD_OFFSET)"
        return Answer("REJECT", f"Do not train {horizon}: {found}. Next: {advice}")
    return Answer("INCONCLUSIVE", f"Not settled: {horizon}: {found}. Next: {_next_step(judged)}")


def _horizon(arm: Sequence[ArmTime], inference: Inference | None = None) -> str:
    """`N steps = T tokens (ratio R; inferred R', 95 % a to b)` of the runs of an arm."""
    steps, _ = Counter(row.steps for row in arm).most_common(1)[0]
    row = next(row for row in arm if row.steps == steps)
    text = f"{steps:,} steps = {tokens(steps * row.total_batch_size)} (ratio {row.realised_ratio:.4g}"
    if inference is None or inference.inferred_target_param_data_ratio is None:
        return f"{text})"
    low, high = inference.ratio_low, inference.ratio_high
    interval = "no 95 % interval" if low is None or high is None else f"95 % {low:.4g} to {high:.4g}"
    return f"{text}; inferred {inference.inferred_target_param_data_ratio:.4g}, {interval})"


def _found(verdict: Verdict, judged: ModeVerdict, test: PairedTest) -> str:
    """How the runs reached the threshold, against the baseline."""
    arm = [row for row in verdict.arms if row.arm == judged.mode]
    reached = sum(row.reached for row in arm)
    goal = f"{verdict.threshold:.4f} bpb"
    if reached == 0:
        return f"no run of {len(arm)} reaches {goal}"
    some = "" if reached == len(arm) else f" in {reached} of {len(arm)} runs"
    if test.mean_gain_relative is None or test.mean_gain_sec is None:
        return f"reaches {goal}{some}, with no paired baseline to compare with"
    word = "sooner" if test.mean_gain_sec >= 0 else "later"
    return f"reaches {goal}{some} {share(abs(test.mean_gain_relative))} {word} than the baseline"


def _saving(test: PairedTest) -> str:
    """What a run saves; empty where it saves nothing."""
    saved = test.mean_gain_sec
    return f", saving about {duration(saved)} a run" if saved is not None and saved > 0 else ""


def _evidence(verdict: Verdict, judged: ModeVerdict, test: PairedTest) -> str:
    """The decision, its p and the clock that decided."""
    p = judged.p_adjusted
    shown = "no test" if p is None else f"p {p:.2g}" if p >= 0.0001 else "p < 0.0001"
    return f"{verdict.decision}, {shown}, {test.pairs} paired seeds, by {CLOCKS[judged.deciding_clock]}"


def _next_step(judged: ModeVerdict) -> str:
    """What would settle an INCONCLUSIVE."""
    if judged.seeds_needed is not None:
        return f"{judged.seeds_needed} paired seeds in all (LANE_B_RUN_SEEDS and LANE_B_BASELINE_SEEDS)"
    if judged.unpaired_seeds:
        return "a baseline for every run seed (LANE_B_BASELINE_SEEDS)"
    return _clause(judged.reasons[-1]) if judged.reasons else "more run seeds (LANE_B_RUN_SEEDS)"


def _why_not_promotable(inference: Inference) -> tuple[str, str]:
    """The finding of the first blocking gate that failed, and its remedy."""
    failed = [gate for gate in inference.gates if not gate.passed and gate.severity == "blocking"]
    finding, _, remedy = (failed[0].message if failed else inference.solve_status).partition(". ")
    return finding, _clause(remedy) or "see the gates of ratio_inference"


def _clause(sentence: str) -> str:
    """A sentence as a part of another one."""
    text = sentence.strip().rstrip(".")
    second = text[1:2]
    return text[:1].lower() + text[1:] if second.islower() else text


def _imported(summary: Summary) -> Answer:
    recommended, seeds = summary.recommended_lane_b_decision, len(summary.winners)
    wins = summary.tally.get(recommended, 0)
    return Answer(
        "imported",
        f"Imported rows only: {recommended} is fastest for {wins} of {seeds} seeds among candidates; none of their "
        "runs is here, so nothing is judged against a baseline. Next: laneb run",
    )


def _before_candidates(inference: Inference) -> Answer:
    goal = f"{inference.target_metric_threshold:.4f} bpb"
    if not inference.promotable:
        finding, remedy = _why_not_promotable(inference)
        return Answer(
            "no candidates yet",
            f"No candidates yet, and no ratio to trust: {finding}. Next: {remedy}; or laneb run, which trains the "
            "fallback ratio",
        )
    low, high = inference.ratio_low, inference.ratio_high
    interval = ", no 95 % interval" if low is None or high is None else f", 95 % {low:.4g} to {high:.4g}"
    return Answer(
        "no candidates yet",
        f"No candidates yet: {goal} should be reached with {tokens(inference.inferred_target_tokens or 0)} (ratio "
        f"{inference.inferred_target_param_data_ratio or 0:.4g}{interval}). Next: laneb run trains them",
    )
