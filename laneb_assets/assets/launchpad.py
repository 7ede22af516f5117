"""The config of `experiment` in Dagster's launchpad, generated from the knobs: typed, described, and refused while it
is typed where a name is unknown. It opens with the overrides that are kept.

Left out are the knobs that name partitions (definitions load with them) and those that name a file, a program or its
arguments on the machine: whoever may click may not thereby run programs.
"""

from typing import Any, Literal, get_args, get_origin

import dagster as dg

from laneb.settings import Knob, Settings, all_knobs, launchpad_may_set

OVERRIDES, RESET = "overrides", "reset"


def launchpad_config(settings: Settings) -> dict[str, dg.Field]:
    """The op's config: `overrides` by `section.name`, and `reset`."""
    knobs = [knob for knob in all_knobs() if launchpad_may_set(knob)]
    kept = {knob.key: settings.overrides[knob.key] for knob in knobs if knob.key in settings.overrides}
    return {
        OVERRIDES: dg.Field(
            dg.Shape({knob.key: _field(knob) for knob in knobs}),
            is_required=False,
            default_value=kept,
            description=(
                "section.name: value, such as threshold.threshold_offset: 0.03. Kept with the experiment from now on; "
                "what is not named stays as it is kept."
            ),
        ),
        RESET: dg.Field(
            bool,
            is_required=False,
            default_value=False,
            description="Drop the kept overrides first; those that are named in this config are then set.",
        ),
    }


def _field(knob: Knob) -> dg.Field:
    meaning = f"{knob.info.description}. Allowed: {knob.allowed}. {knob.env} in the environment beats it."
    return dg.Field(_config_type(knob, knob.info.annotation), is_required=False, description=meaning)


def _config_type(knob: Knob, annotation: Any) -> Any:
    """The Dagster type of a knob's value."""
    inner = [option for option in get_args(annotation) if option is not type(None)]
    if type(None) in get_args(annotation):
        return dg.Noneable(_config_type(knob, inner[0]))
    if get_origin(annotation) is Literal:
        return dg.Enum(f"{knob.section}_{knob.name}", [dg.EnumValue(str(choice)) for choice in inner])
    return annotation
