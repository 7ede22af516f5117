"""The experiment's settings: one op whose config overrides single knobs, an asset for each section."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from laneb.knobs import EXPERIMENT_SECTIONS, TrainingKnobs
from laneb.records.base import canonical_hash
from laneb.records.experiment import Experiment
from laneb.settings import Settings
from laneb.storage.overrides import apply_overrides, refuse_foreign_work_dir
from laneb.training.checkout_knobs import set_by_someone
from laneb.training.spec import trainer_fingerprint
from laneb_assets.lane import EXPERIMENT, key_of, settings_asset
from laneb_assets.resources import Stored


class Overrides(dg.Config):
    """Single knobs for this experiment; empty drops the overrides that were kept."""

    overrides: dict[str, Any] = Field(
        default={},
        description="section.name: value, such as threshold.threshold_offset: 0.03. Empty: drop the overrides.",
    )


def experiment_asset(loaded: Settings) -> dg.AssetsDefinition:
    """The multi-asset of an experiment's settings; `loaded` are those that the definitions were made with."""
    experiment = loaded.experiment
    root = key_of(experiment, EXPERIMENT)
    # Another profile or environment shows as a changed code version, until the settings are resolved again; an
    # override does not, since it came from here.
    loaded_with = canonical_hash(
        {
            f"{section.title}.{name}": value
            for section in EXPERIMENT_SECTIONS
            for name, value in loaded.section(section.title).model_dump(mode="json").items()
            if f"{section.title}.{name}" not in loaded.overrides
        }
    )
    specs = [
        dg.AssetSpec(
            root,
            group_name="experiment",
            code_version=loaded_with,
            kinds={"toml"},
            description="The resolved settings. Materialize with config in the launchpad to override single knobs.",
        ),
        *(
            dg.AssetSpec(
                key_of(experiment, settings_asset(section.title)),
                deps=[root],
                group_name="experiment",
                description=f"The knobs of [{section.title}]: {section.__doc__}",
            )
            for section in EXPERIMENT_SECTIONS
        ),
    ]

    @dg.multi_asset(name=f"{experiment}__{EXPERIMENT}", specs=specs)
    def resolve(context: dg.AssetExecutionContext, config: Overrides, store: Stored):
        try:
            refuse_foreign_work_dir(experiment, store.locations)
            settings = apply_overrides(loaded.profile, store.locations, config.overrides)
            record = Experiment.of(settings)
            versions = {section.title: _version(record, section.title) for section in EXPERIMENT_SECTIONS}
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        path = store.write(record)
        yield dg.MaterializeResult(
            asset_key=root,
            data_version=dg.DataVersion(record.content_hash()),
            metadata={
                "file": dg.MetadataValue.path(str(path)),
                "profile": settings.profile,
                "overrides": dg.MetadataValue.md(_overrides_table(record)),
            },
        )
        for section in EXPERIMENT_SECTIONS:
            values = getattr(record, section.title)
            yield dg.MaterializeResult(
                asset_key=key_of(experiment, settings_asset(section.title)),
                data_version=dg.DataVersion(versions[section.title]),
                metadata={"knobs": dg.MetadataValue.md(_section_table(section.title, values, record.origins))},
            )

    return resolve


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
    lines = ["| knob | override |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{key}` | `{value}` |" for key, value in sorted(record.overrides.items()))])


def _section_table(title: str, values: Any, origins: dict[str, str]) -> str:
    lines = ["| knob | value | from | meaning |", "|---|---|---|---|"]
    for name, info in type(values).model_fields.items():
        origin = origins.get(f"{title}.{name}", "default")
        lines.append(f"| `{name}` | `{getattr(values, name)}` | {origin} | {info.description} |")
    return "\n".join(lines)
