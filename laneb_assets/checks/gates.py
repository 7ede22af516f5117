"""Gates as asset checks on the asset that they judge.

A check is blocking where what follows would be wrong. The gates of `ratio_inference` never block: an inference that
fails one leads to a fallback run, which `plan_candidates` decides in code.
"""

import itertools
from collections.abc import Iterable

import dagster as dg

from laneb.corpus.checkout_data import change_noted
from laneb.inference.gates import GATE_NAMES
from laneb.records.calibration import Calibration
from laneb.records.corpus import TokenShards
from laneb.records.experiment import Experiment
from laneb.records.inference import Gate, Inference
from laneb.records.plan import Plan
from laneb.records.statistics import DatasetStats
from laneb.records.verdict import Verdict
from laneb.report.answer import CLOCKS, answer_of
from laneb.schema_rows import REALISED_TOLERANCE
from laneb.storage.products import PRODUCTS
from laneb.storage.results import latest_rows, read_results
from laneb.storage.store import Store
from laneb.wanted import candidate_runs
from laneb_assets.names import key_of
from laneb_assets.resources import Stored
from laneb_assets.views.metadata import finite_numbers, significant


def _partitions(context: dg.AssetCheckExecutionContext, every: Iterable[object]) -> list[str]:
    """The partition of the run that the check is part of; every one when it is evaluated by itself. One seed's failure
    is not another seed's."""
    if context.op_execution_context.has_partition_key:
        return [context.op_execution_context.partition_key]
    return [str(partition) for partition in every]


def _finished(store: Store, asset: str, partitions: Iterable[str]) -> dg.AssetCheckResult:
    of_roles = PRODUCTS[asset].roles
    assert of_roles is not None
    kept = (store.whole_run(role) for partition in partitions for role in of_roles(partition))
    runs = [run for run in kept if run is not None]
    bad = [f"{run.run_id} (seed {run.seed}) ended {run.status}" for run in runs if run.status != "ok"]
    remedy = ". Lower the learning rates (training.matrix_lr and its kin), or materialize the partition again."
    return dg.AssetCheckResult(
        passed=not bad,
        description="; ".join(bad) + remedy if bad else f"{len(runs)} run(s) trained to their horizons",
        metadata={"runs": len(runs), "not_ok": len(bad)},
    )


def design_can_be_accepted(store: Stored) -> dg.AssetCheckResult:
    """The design can end in an ACCEPT: seeds that pair, and some power at a gain that is possible."""
    problems = store.read(Plan).problems
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or "a gain can be shown",
        metadata={"problems": len(problems)},
    )


def enough_validation_text(store: Stored) -> dg.AssetCheckResult:
    """Every evaluation reads as many validation tokens as it was asked to."""
    shards, wanted = store.read(TokenShards), store.read(Experiment).training.eval_tokens
    enough = shards.val_tokens >= wanted
    return dg.AssetCheckResult(
        passed=enough,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{shards.val_tokens:,} validation tokens for evaluations of {wanted:,}"
        + (
            ""
            if enough
            else ". Each evaluation reads them all; raise data.validation_share or lower training.eval_tokens."
        ),
        metadata={"val_tokens": shards.val_tokens, "eval_tokens": wanted},
    )


def same_data(store: Stored) -> dg.AssetCheckResult:
    """The checkout trains on the files that it trained on before."""
    change = change_noted(store.read(TokenShards).path)
    return dg.AssetCheckResult(
        passed=not change,
        severity=dg.AssetCheckSeverity.WARN,
        description=change or "the checkout's data is what it was",
    )


def entropy_is_measured(store: Stored) -> dg.AssetCheckResult:
    """At every context length of the entropy fit, the bracket between plug-in and held-out bound is narrow.

    A warning only where the exponent may come from the entropy.
    """
    stats = store.read(DatasetStats)
    fitted = {point.context_len for point in stats.entropy_curve}
    limit = stats.entropy_bracket_tolerance
    wide = [e for e in stats.entropy_estimates if e.context_len in fitted and not e.usable]
    description = f"all {len(fitted)} context lengths of the entropy fit are bracketed"
    if wide:
        first, lengths = wide[0], ", ".join(str(estimate.context_len) for estimate in wide)
        description = (
            f"{len(wide)} of {len(fitted)} context lengths of the entropy fit ({lengths}) are bracketed too widely to "
            f"say anything of the text: at {first.context_len}, {first.plug_in_bits:.2f} to {first.held_out_bits:.2f} "
            f"bits, where a width of {limit:.0%} of the upper end is allowed. The entropy exponent then measures the "
            "sample: sample more (statistics.max_tokens, max_docs), fit shorter contexts (statistics.ent_max_ctx), or "
            "trust context_loss and the finished runs instead."
        )
    unused = store.has(Experiment) and store.read(Experiment).inference.paper_mapping_id == "corr_only_v1"
    if wide and unused:
        description += " Nothing rests on it here: corr_only_v1 takes the exponent from correlation alone."
    return dg.AssetCheckResult(
        passed=not wide or unused,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={"too_wide": len(wide), "fitted": len(fitted), "usable": len(stats.entropy_usable_context_lens)},
    )


def baselines_finished(context: dg.AssetCheckExecutionContext, store: Stored) -> dg.AssetCheckResult:
    """The baseline that has just run (else: every one that is there) trained to its horizon with finite losses."""
    return _finished(store, "baseline_runs", _partitions(context, store.read(Experiment).baseline.seeds))


def calibration_finished(context: dg.AssetCheckExecutionContext, store: Stored) -> dg.AssetCheckResult:
    """The calibration run that has just run (else: every one there is) trained to its horizon with finite losses."""
    knobs = store.read(Experiment).calibration
    every = (f"{steps}|{seed}" for steps in knobs.iterations for seed in knobs.all_seeds)
    return _finished(store, "calibration_runs", _partitions(context, every))


ALIKE = ("depth", "max_seq_len", "total_batch_size", "target_param_data_ratio")
"""Columns of results.csv in which baselines of one kind agree; a cell that is empty or -1 contradicts nothing."""


def baselines_agree(store: Stored) -> dg.AssetCheckResult:
    """The baselines that count are of one kind: shape, batch and horizon. A threshold of mixed ones is nobody's."""
    results = latest_rows(read_results(store.locations.baseline_results_csv))
    rows = results[results["seed"].isin(store.read(Experiment).baseline.seeds)]
    mixed = []
    for name in ALIKE:
        known = rows[rows[name].notna() & (rows[name] > 0)]
        kinds = known.groupby(name)["seed"].apply(lambda seeds: ", ".join(map(str, seeds)))
        if len(kinds) > 1:
            mixed.append(f"{name} is " + " and ".join(f"{value:g} of seed {seeds}" for value, seeds in kinds.items()))
    remedy = ". Train or import baselines of one kind (their seeds: LANE_B_BASELINE_SEEDS)."
    return dg.AssetCheckResult(
        passed=not mixed,
        description="; ".join(mixed) + remedy if mixed else f"{len(rows)} baselines of one shape, batch and horizon",
        metadata={"differing": len(mixed)},
    )


def losses_fall_with_tokens(store: Stored) -> dg.AssetCheckResult:
    """The median final loss falls from each horizon to the next."""
    calibration = store.read(Calibration)
    losses = calibration.calib_metrics
    rises = sum(later >= earlier for earlier, later in itertools.pairwise(losses))
    return dg.AssetCheckResult(
        passed=rises == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"median finals {', '.join(f'{loss:.4f}' for loss in losses)} bpb"
        + ("" if rises == 0 else f": {rises} horizon(s) gained nothing. Calibrate at horizons further apart."),
        metadata={"rises": rises},
    )


def candidates_finished(context: dg.AssetCheckExecutionContext, store: Stored) -> dg.AssetCheckResult:
    """The candidates that have just run (else: every one there is) trained to their horizons with finite losses."""
    return _finished(store, "candidate_runs", _partitions(context, store.read(Experiment).candidates.run_seeds))


def realised_as_requested(store: Stored) -> dg.AssetCheckResult:
    """Whole steps realise the requested ratios to within 1 %."""
    found = candidate_runs(store, store.read(Experiment), store.read(Inference))
    off = [
        f"{mode} of seed {seed}: {run.realised_ratio:.4g} instead of {run.made_for.requested_ratio:.4g}"
        for (mode, seed), run in found.runs.items()
        if run.made_for and abs(run.realised_ratio / run.made_for.requested_ratio - 1) > REALISED_TOLERANCE
    ]
    return dg.AssetCheckResult(
        passed=not off,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(off) + ". A smaller total_batch_size makes finer steps." if off else "within 1 %",
    )


def a_candidate_beats_the_baseline(store: Stored) -> dg.AssetCheckResult:
    """The verdict: ACCEPT, on candidates at the inferred ratio against the baseline of the same seed."""
    verdict, inference = store.read(Verdict), store.read(Inference)
    answer = answer_of(inference, verdict)
    judged = next((mode for mode in verdict.modes if mode.mode == verdict.mode), verdict.modes[0])
    test = judged.pooled_test if judged.deciding_clock == "pooled_step" else judged.measured_test
    numbers = {"mean_gain_sec": test.mean_gain_sec, "mean_gain_relative": test.mean_gain_relative}
    numbers |= {"p": judged.p_adjusted, "pairs": float(test.pairs)}
    return dg.AssetCheckResult(
        passed=answer.kind == "ACCEPT",
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{answer.sentence}.",
        metadata={"decision": verdict.decision, "clock": CLOCKS[judged.deciding_clock], **finite_numbers(numbers)},
    )


GATE_MEANINGS = {
    "finished_runs": "every calibration run trained to its horizon with finite losses",
    "statistics_quality": "the power laws fitted to the corpus are of good quality, so that their exponent may be used",
    "plausible_exponent": "the exponent in use is one that language data can have",
    "solved": "the fitted curve reaches the threshold at some horizon",
    "feasible": "that horizon can be trained: it is within LANE_B_UNREACHABLE_MULT times the default ratio",
    "fit_quality": "the exponent in use is one that the finished runs allow",
    "noise_below_spread": "the losses of the horizons differ by more than runs of one horizon do",
    "bracketed": "the answer lies between the calibrated horizons",
    "extrapolation": "the answer lies near the calibrated horizons, where not between them",
    "interval": "the 95 % interval of the ratio is narrow enough to act on",
    "warmdown_pays": "a run that ends at a horizon is better there than a longer run on its way",
}
"""What each gate asks, whatever it finds."""

GATE_VALUES = {
    "finished_runs": "runs",
    "statistics_quality": "r2",
    "plausible_exponent": "exponent",
    "solved": "tokens",
    "feasible": "tokens",
    "fit_quality": "exponent",
    "noise_below_spread": "bpb",
    "bracketed": "tokens",
    "extrapolation": "factor",
    "interval": "relative_width",
    "warmdown_pays": "gain_bpb",
}
"""What each gate's number is."""


def _numbers(gate: Gate) -> dict[str, float | None]:
    """A gate's value and limit, also under the name of what they are."""
    what = GATE_VALUES[gate.name]
    numbers = {"value": gate.value, "limit": gate.limit, what: gate.value, f"{what}_limit": gate.limit}
    return {name: number if number is None else significant(number) for name, number in numbers.items()}


def inference_gates(experiment: str) -> dg.AssetChecksDefinition:
    """The gates of the inference, each with its numbers, its limit and what to do."""
    asset = key_of(experiment, "ratio_inference")

    @dg.multi_asset_check(
        name=f"{experiment}__inference_gates",
        specs=[dg.AssetCheckSpec(name, asset=asset, description=GATE_MEANINGS[name]) for name in GATE_NAMES],
    )
    def gates(store: Stored) -> Iterable[dg.AssetCheckResult]:
        for gate in store.read(Inference).gates:
            finding, _, remedy = gate.message.partition(". ")
            named = {**_numbers(gate), "found": finding, "remedy": remedy if not gate.passed else None}
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=gate.name,
                passed=gate.passed,
                severity=dg.AssetCheckSeverity.ERROR if gate.severity == "blocking" else dg.AssetCheckSeverity.WARN,
                description=gate.message,
                metadata={name: value for name, value in named.items() if value is not None},
            )

    return gates
