"""Every knob's address: its name in a profile, its variable in the environment, and what it takes, in words."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo

from laneb.knobs import SECTIONS

PARTITION_KNOBS = frozenset({"baseline.seeds", "calibration.iterations", "calibration.seed", "calibration.seeds",
                             "candidates.run_seeds"})  # fmt: skip
"""Knobs that name partitions: they are read when definitions load, so the launchpad can't change them."""


class SettingsError(ValueError):
    """One or more settings that can't be used, a line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Knob:
    """A knob's address: `section.name` in a profile, `env` in the environment."""

    section: str
    name: str
    env: str
    info: FieldInfo = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        """`section.name`."""
        return f"{self.section}.{self.name}"

    @property
    def on_host(self) -> str | None:
        """What it names on the machine that runs: a "path", or a "command" and its arguments; None: nothing there."""
        extra = self.info.json_schema_extra
        assert isinstance(extra, dict)
        found = extra["on_host"]
        return None if found is None else str(found)

    @property
    def is_path(self) -> bool:
        """Whether it names a place."""
        return self.section == "places" or self.on_host == "path"

    @property
    def allowed(self) -> str:
        """What values the knob takes, in words."""
        schema = _schemas()[self.section]["properties"][self.name]
        options = [schema, *schema.get("anyOf", [])]
        for option in options:
            if "enum" in option or "const" in option:
                return "one of " + ", ".join(str(choice) for choice in option.get("enum", [option.get("const")]))
        if any("minItems" in option or option.get("type") == "array" for option in options):
            items = next(option["items"] for option in options if "items" in option)
            if "enum" in items:
                return f"none, or some of {', '.join(items['enum'])}, separated by commas"
            return "integers separated by commas, such as 41,42; each " + " and ".join(_bounds(items))
        if any(option.get("type") == "boolean" for option in options):
            return "0 or 1"
        bounds = [bound for option in options for bound in _bounds(option)]
        kind = next((_TYPE_WORDS[option["type"]] for option in options if option.get("type") in _TYPE_WORDS), "a value")
        return " ".join([kind, *([" and ".join(bounds)] if bounds else [])])


_BOUND_WORDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
    "pattern": "matching",
}


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    return [f"{word} {schema[key]}" for key, word in _BOUND_WORDS.items() if key in schema]


_TYPE_WORDS = {"integer": "an integer", "number": "a number", "string": "text"}
_schema_cache: dict[str, Any] = {}


def _schemas() -> dict[str, Any]:
    if not _schema_cache:
        _schema_cache.update({section.title: section.model_json_schema() for section in SECTIONS})
    return _schema_cache


@functools.cache
def all_knobs() -> tuple[Knob, ...]:
    """Every knob of every section, in the order of `laneb.knobs`."""
    return tuple(
        Knob(section.title, name, str(info.json_schema_extra["env"]), info)
        for section in SECTIONS
        for name, info in section.model_fields.items()
        if isinstance(info.json_schema_extra, dict)
    )


def find_knob(name: str) -> Knob:
    """The knob called `name`: an environment variable, `section.name`, or a bare name that only one section has.

    Raises:
        SettingsError: no such knob; the message has the nearest known name.
    """
    wanted = name.strip()
    found = [knob for knob in all_knobs() if wanted in (knob.env, knob.key, knob.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SettingsError([f"{name} is ambiguous: say {' or '.join(knob.key for knob in found)}."])
    names = [known for knob in all_knobs() for known in (knob.env, knob.key)]
    raise SettingsError([f"{name}: no such setting.{nearest(wanted, names)}"])


def launchpad_may_set(knob: Knob) -> bool:
    """Whether Dagster's launchpad may override a knob: whoever may click may neither move partitions, which are known
    before definitions load, nor choose files, programs or arguments on the machine."""
    elsewhere = knob.section in ("places", "automation", "engine") or knob.key == "baseline.source"
    return not elsewhere and knob.key not in PARTITION_KNOBS and knob.on_host is None


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is most like a wrong one; empty where none is like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""
