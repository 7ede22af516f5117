"""The experiment's settings: one op whose config overrides single knobs, an asset for each section."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from laneb.knobs import EXPERIMENT_SECTIONS, TrainingKnobs
from laneb.records.base import canonical_hash
from laneb.records.experiment import Experiment
from laneb.report.markdown import markdown_table
from laneb.settings import Settings
from laneb.storage.overrides import apply_overrides, refuse_foreign_work_dir
from laneb.training.checkout_knobs import set_by_someone
from laneb.training.spec import trainer_fingerprint
from laneb_assets.assets.launchpad import OVERRIDES, RESET, launchpad_config
from laneb_assets.checks.settings import report_stale_partitions, trained_assets
from laneb_assets.names import EXPERIMENT, EXPERIMENT_TAG, OWNERS, SETTINGS, key_of, settings_asset
from laneb_assets.resources import Stored

DATA_VERSION_TAG = "dagster/data_version"


def experiment_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The multi-asset of an experiment's settings; `settings` are those that the definitions were made with."""
    experiment = settings.experiment

    # One op makes them all, whichever are selected: who clicks `experiment` alone is not asked about its sections.
    @dg.multi_asset(
        name=op_name(experiment), specs=_specs(settings), config_schema=launchpad_config(settings), can_subset=True
    )
    def resolve(context: dg.AssetExecutionContext, store: Stored):
        said = _said(context)
        try:
            refuse_foreign_work_dir(experiment, store.locations)
            resolved, changes = apply_overrides(
                settings.profile,
                store.locations,
                said.get(OVERRIDES, {}),
                reset=bool(said.get(RESET, False)),
                shown=settings.overrides,
            )
            record = Experiment.of(resolved)
            versions = {section.title: _version(record, section.title) for section in EXPERIMENT_SECTIONS}
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        for change in changes:
            context.log.info(change)
        path = store.write(record)
        report_stale_partitions(context.instance, store, experiment, trained_assets(settings.baseline.source))
        metadata = {
            "file": dg.MetadataValue.path(str(path)),
            "profile": resolved.profile,
            "overrides": dg.MetadataValue.md(_overrides_table(record)),
            "changed": dg.MetadataValue.md("\n".join(f"- {change}" for change in changes) or "nothing"),
        }
        yield from _made(context, key_of(experiment, EXPERIMENT), record.content_hash(), metadata)
        for section in EXPERIMENT_SECTIONS:
            table = _section_table(section.title, getattr(record, section.title), record.origins)
            key = key_of(experiment, settings_asset(section.title))
            yield from _made(context, key, versions[section.title], {"knobs": dg.MetadataValue.md(table)})

    return [resolve]


def _made(
    context: dg.AssetExecutionContext, key: dg.AssetKey, version: str, metadata: Mapping[str, Any]
) -> Iterator[dg.MaterializeResult]:
    """Record that an asset was made: as a result where it was selected, else as an event, which is all that is left."""
    if key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key, data_version=dg.DataVersion(version), metadata=metadata)
    else:
        context.log_event(dg.AssetMaterialization(key, metadata=metadata, tags={DATA_VERSION_TAG: version}))


def op_name(experiment: str) -> str:
    """The op that makes the settings assets: its name in the launchpad's config."""
    return f"{experiment}__{EXPERIMENT}"


def _specs(settings: Settings) -> list[dg.AssetSpec]:
    """`experiment` and its sections. Another profile or environment shows as a changed code version, until the settings
    are resolved again; an override does not, since it comes from that very click."""
    root = key_of(settings.experiment, EXPERIMENT)
    return [
        dg.AssetSpec(
            root,
            group_name=EXPERIMENT,
            code_version=settings.given_fingerprint,
            kinds={"toml"},
            owners=OWNERS,
            tags={EXPERIMENT_TAG: settings.experiment},
            description=(
                "The resolved settings. Materialize with config in the launchpad to override single knobs; without "
                "config, the overrides that are kept stay."
            ),
        ),
        *(
            dg.AssetSpec(
                key_of(settings.experiment, settings_asset(section.title)),
                deps=[root],
                group_name=SETTINGS,
                owners=OWNERS,
                tags={EXPERIMENT_TAG: settings.experiment},
                description=f"The knobs of [{section.title}]: {section.__doc__}",
            )
            for section in EXPERIMENT_SECTIONS
        ),
    ]


def _said(context: dg.AssetExecutionContext) -> Mapping[str, Any]:
    """The config that was launched with, without the defaults that Dagster fills in: what is silent stays kept."""
    ops = dict(context.run.run_config).get("ops") or {}
    said: Mapping[str, Any] = (ops.get(context.op_def.name) or {}).get("config") or {}
    return said


def _version(record: Experiment, title: str) -> str:
    """What tells a section from an earlier one: its knobs, and what trains beside them."""
    knobs, code = record.section_hash(title), trainer_fingerprint(record.training) if title == "training" else ""
    told = _told_to_a_checkout(record.training, record.origins) if title in ("model", "training") else {}
    return canonical_hash([knobs, code, *told.values()]) if code or told else knobs


def _told_to_a_checkout(training: TrainingKnobs, origins: Mapping[str, str]) -> dict[str, list[str]]:
    """Which knobs somebody set, where that decides what the others are: a checkout's own defaults."""
    return {"told": sorted(set_by_someone(origins))} if training.backend == "nanochat" else {}


def _overrides_table(record: Experiment) -> str:
    if not record.overrides:
        return "none: every knob is the profile's, the environment's or its default"
    return markdown_table(
        ("knob", "override"), [(f"`{key}`", f"`{value}`") for key, value in sorted(record.overrides.items())]
    )


def _section_table(title: str, values: Any, origins: dict[str, str]) -> str:
    rows = [
        (f"`{name}`", f"`{getattr(values, name)}`", origins.get(f"{title}.{name}", "default"), str(info.description))
        for name, info in type(values).model_fields.items()
    ]
    return markdown_table(("knob", "value", "from", "meaning"), rows)
