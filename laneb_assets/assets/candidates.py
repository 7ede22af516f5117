"""Trying the inferred ratio, and recording how it went."""

import dagster as dg

from laneb.decision.candidates import plan_candidates
from laneb.records.candidates import MODES
from laneb.records.inference import Inference
from laneb.records.runs import MadeFor, RunResult
from laneb.schema_rows import run_time_to_target, schema_rows
from laneb.settings import Settings
from laneb.storage.atomic import StorageError
from laneb.storage.roles import candidate_role
from laneb.training.checkout_knobs import customary_ratio
from laneb.training.log_lines import times_to_target, tracking
from laneb.wanted import candidate_runs as candidate_runs_of
from laneb.wanted import wanted_spec
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.assets.training_runs import keep, run_curves, tracker_links
from laneb_assets.names import TRAINING_POOL
from laneb_assets.partitions import partitions_of
from laneb_assets.resources import Duck, Repeat, Stored, Training
from laneb_assets.views.frames import SchemaRowsFrame, checked, inference_schema_columns
from laneb_assets.views.metadata import materialized


def candidate_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The candidate runs, and their rows in the schema table."""
    return [
        lane_asset(
            settings,
            candidate_runs,
            group="candidates",
            deps=["ratio_inference"],
            sections=["model", "training"],
            partitions=partitions_of(settings).run_seed,
            kinds=["pytorch"],
            pool=TRAINING_POOL,
        ),
        lane_asset(
            settings,
            inference_schema,
            group="summary",
            deps=["candidate_runs", "ratio_inference"],
            sections=["candidates", "baseline"],
            kinds=["duckdb"],
            pool="duckdb",
        ),
    ]


def candidate_runs(
    context: dg.AssetExecutionContext, config: Repeat, store: Stored, trainer: Training
) -> dg.MaterializeResult:
    """The inferred ratio and 1.05 times it, trained to their ends; or one fallback run when inference is no basis."""
    experiment, inference = store.experiment(), store.read(Inference)
    seed = int(context.partition_key)
    metadata: dict[str, object] = {}
    links: dict[str, object] = {}
    results: list[RunResult] = []
    runs_trained = 0
    planned = plan_candidates(inference, seed=seed, default_ratio=customary_ratio(experiment))
    for candidate in planned:
        role = candidate_role(candidate.mode, seed)
        spec = wanted_spec(store, experiment, seed=seed, ratio=candidate.ratio)
        trained = trainer.train(context, spec, role, config)
        result, runs_trained = trained.result, runs_trained + trained.now
        time = run_time_to_target(result, inference.target_metric_threshold, experiment.candidates)
        result = keep(
            store,
            result,
            role=role,
            log=store.locations.log_dir / f"{candidate.run_id}.log",
            made_for=MadeFor(requested_ratio=candidate.ratio, threshold=inference.target_metric_threshold),
            before=tracking(inference.target_metric_threshold) + "\n",
            after="\n".join([*times_to_target(time), ""]),
        )
        results.append(result)
        links |= tracker_links(store, result, f"{candidate.mode}_")
        metadata |= {
            f"{candidate.mode}_ratio": candidate.ratio,
            f"{candidate.mode}_realised_ratio": result.realised_ratio,
            f"{candidate.mode}_min_val_bpb": result.min_val_bpb,
            f"{candidate.mode}_time_to_target_sec": time.measured_sec,
            f"{candidate.mode}_status": result.status,
        }
    for mode in set(MODES) - {candidate.mode for candidate in planned}:
        store.forget_run(candidate_role(mode, seed))
    made = [(candidate.mode, run) for candidate, run in zip(planned, results, strict=True)]
    return materialized(
        version=store.data_version("candidate_runs", context.partition_key),
        extra={"curves": run_curves(store, made), **links},
        runs_trained=runs_trained,
        **metadata,
    )


def inference_schema(context: dg.AssetExecutionContext, store: Stored, warehouse: Duck) -> dg.MaterializeResult:
    """candidate_runs.csv, and the runs' rows in the DuckDB table lane_b_inference_schema with its CSV export."""
    experiment, inference = store.experiment(), store.read(Inference)
    found = candidate_runs_of(store, experiment, inference)
    for sentence in found.sentences:
        context.log.warning(sentence)
    if not found.runs:
        raise StorageError(
            " ".join(found.sentences) or "no candidate has run yet: materialize candidate_runs (or run: laneb run)."
        )
    campaign = schema_rows(inference, found.runs, experiment.candidates, default_ratio=customary_ratio(experiment))
    frame = checked(context, SchemaRowsFrame, campaign.frame())
    written = warehouse.keep_campaign(
        experiment.experiment,
        campaign.rows,
        campaign.fingerprints,
        skip_existing=experiment.candidates.skip_existing,
    )
    store.write_manifest(campaign.manifest)
    store.write_schema_csv(warehouse.csv_texts(experiment.experiment))
    return materialized(
        path=warehouse.path,
        version=campaign.content_hash(),
        extra=inference_schema_columns(frame),
        rows_written=written,
    )
