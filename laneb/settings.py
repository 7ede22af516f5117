"""An experiment's settings: profile, stored overrides and environment resolved to one frozen `Settings`.

Precedence, per knob: environment, then the overrides kept with the experiment, then the profile, then the default.
This is the only module that reads the environment. Everything wrong is collected into one `SettingsError`, which
names for each knob the value, where it came from and what is allowed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from laneb import knobs
from laneb.brought import place, read_toml, shortened, unquoted
from laneb.buckets import check_bucket
from laneb.consistency import contradictions
from laneb.knob_index import PARTITION_KNOBS, Knob, SettingsError, all_knobs, find_knob, launchpad_may_set, nearest
from laneb.knobs import SECTIONS, Section
from laneb.places import Locations, is_folder_path, locate
from laneb.recipe_knobs import own_values
from laneb.records.base import canonical_hash

__all__ = [
    "PARTITION_KNOBS",
    "Knob",
    "Settings",
    "SettingsError",
    "absolute_environment",
    "all_knobs",
    "find_knob",
    "launchpad_may_set",
    "load_profile",
    "load_settings",
    "profile_names",
    "profile_path",
    "read_overrides",
    "validate_override",
]

PROFILE_DIR = Path(__file__).parent / "profiles"
DEFAULT_PROFILE = "tiny"
EXPERIMENT_NAMES = "[A-Za-z0-9_]{1,100}"
"""They name folders and asset keys."""

IGNORED_VARIABLES = frozenset(
    {
        "LANE_B_BASELINE_MEDIAN_MIN_VAL_BPB",
        "LANE_B_BASELINE_SUCCESSFUL_RUNS",
        "LANE_B_SPEEDRUN_DEFAULT_RATIO",
        "LANE_B_BASELINE_LOG_GLOB",
        "LANE_B_L_INF_LOWER_BOUND_FROM_STATS_KEY",
        "LANE_B_NUM_ITERATIONS",
    }
)
"""Names that people's environments hold and that decide nothing here."""


@dataclass(frozen=True)
class Settings:
    """An experiment's resolved settings. `origins` says for each knob where its value came from."""

    experiment: str
    profile: str
    description: str
    data: knobs.DataKnobs
    model: knobs.ModelKnobs
    training: knobs.TrainingKnobs
    baseline: knobs.BaselineKnobs
    threshold: knobs.ThresholdKnobs
    calibration: knobs.CalibrationKnobs
    statistics: knobs.StatisticsKnobs
    inference: knobs.InferenceKnobs
    candidates: knobs.CandidateKnobs
    automation: knobs.Automation
    engine: knobs.EngineKnobs
    locations: Locations = field(compare=False)
    origins: Mapping[str, str] = field(compare=False, default_factory=dict)
    overrides: Mapping[str, Any] = field(compare=False, default_factory=dict)
    ignored_variables: tuple[str, ...] = field(compare=False, default=())
    given_fingerprint: str = field(compare=False, default="")
    """Identity of what profile and environment say of the outcome, overrides left out."""

    def section(self, title: str) -> Section:
        """The section called `title`."""
        section = getattr(self, title)
        assert isinstance(section, Section)
        return section

    def set_by_environment(self) -> frozenset[str]:
        """Keys of the knobs that the environment sets."""
        return frozenset(key for key, origin in self.origins.items() if origin.startswith("environment"))


@dataclass(frozen=True)
class _Given:
    """A raw value and where it came from."""

    value: Any
    origin: str
    label: str


def profile_names() -> list[str]:
    """The profiles that come with Lane B."""
    return sorted(path.stem for path in PROFILE_DIR.glob("*.toml"))


def profile_path(name: str) -> str:
    """A profile's name, or the absolute path of a profile's file: what means the same in any folder."""
    return absolute(name) if name.endswith(".toml") else name


def absolute(path: str) -> str:
    """A path that means the same in any folder; URLs and the empty path stay as they are."""
    return path if not path or "://" in path else str(Path(path).expanduser().absolute())


def absolute_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that starts in another folder: every path knob in it made absolute."""
    paths = {knob.env for knob in all_knobs() if knob.is_path}
    return {
        name: absolute(place(unquoted(value), environ)) if name in paths else value for name, value in environ.items()
    }


def profile_name(asked: str | None, environ: Mapping[str, str]) -> str:
    """The profile that is asked for, else `LANE_B_PROFILE`'s, else the default one.

    Raises:
        SettingsError: a path with a variable that is not set.
    """
    name = unquoted(asked or environ.get("LANE_B_PROFILE", "")) or DEFAULT_PROFILE
    try:
        return place(name, environ)
    except ValueError as error:
        raise SettingsError([f"profile {shortened(name)}: {error}."]) from None


def load_profile(name: str) -> dict[str, Any]:
    """The tables of a profile: one of `profile_names()`, or a path to a TOML file."""
    path = PROFILE_DIR / f"{name}.toml" if name in profile_names() else Path(absolute(name))
    try:
        if not path.is_dir() and not (path.suffix == ".toml" and path.exists()):
            known = ", ".join(profile_names())
            raise ValueError(f"no such profile. Known are {known}; a path to a .toml file works too")
        return {"experiment": path.stem, **read_toml(path)}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError([f"profile {shortened(name)}: {reason}."]) from None


def load_settings(
    profile: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    work_dir: str | None = None,
) -> Settings:
    """Resolve an experiment's settings.

    Args:
        profile: a name or a path to a TOML file; None: `LANE_B_PROFILE`, else "tiny".
        environ: variables to read; None: the process's environment.
        overrides: `{"section.name": value}`; None: those stored in the work directory.
        work_dir: W, before any other source (the command line's `--work-dir`).

    Raises:
        SettingsError: with every problem found.
    """
    environ = os.environ if environ is None else environ
    name = profile_name(profile, environ)
    tables = load_profile(name)
    problems: list[str] = []
    given = _given_by_profile(tables, name, problems, environ)
    from_environment = _given_by_environment(environ, problems)
    if work_dir:
        from_environment |= _placed(
            {"places.work_dir": _Given(work_dir, "command line", "--work-dir")}, problems, environ
        )
    experiment = str(tables["experiment"])
    if not re.fullmatch(EXPERIMENT_NAMES, experiment):
        problems.append(
            f"profile {name}: experiment={shortened(experiment)!r}: letters, digits and _ only, 100 at most."
        )
    if problems:
        raise SettingsError(problems)

    places = _build(knobs.Places, {**given, **from_environment}, problems)
    if problems:
        raise SettingsError(problems)
    locations = locate(places, experiment)
    stored = read_overrides(locations) if overrides is None else dict(overrides)
    everything = {**given, **_given_by_overrides(stored, problems, environ), **from_environment}
    # The one place that can be overridden: where `laneb import` found the baselines.
    locations = locate(_build(knobs.Places, everything, problems), experiment)
    sections = {
        section.title: _build(section, everything, problems) for section in SECTIONS if section is not knobs.Places
    }
    if problems:
        raise SettingsError(problems)
    own = {title: own_values(section, sections["model"].recipe) for title, section in sections.items()}
    sections = {title: section.model_copy(update=own[title]) for title, section in sections.items()}
    imported = sections["baseline"].source == "directory"
    settings = Settings(
        experiment=experiment,
        profile=profile_path(name),
        description=str(tables.get("description", "")),
        locations=replace(
            locations,
            results_are_imported=imported,
            trained_elsewhere=sections["engine"].engine != "local" or not is_folder_path(locations.work_dir),
        ),
        origins={
            knob.key: everything[knob.key].origin
            if knob.key in everything
            else "recipe"
            if knob.name in own.get(knob.section, {})
            else "default"
            for knob in all_knobs()
        },
        overrides=stored,
        ignored_variables=tuple(sorted(IGNORED_VARIABLES & set(environ))),
        given_fingerprint=_fingerprint({**given, **from_environment}),
        **sections,
    )
    problems = contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _fingerprint(given: Mapping[str, _Given]) -> str:
    titles = {section.title for section in knobs.EXPERIMENT_SECTIONS}
    return canonical_hash({key: item.value for key, item in given.items() if key.partition(".")[0] in titles})


def validate_override(key: str, value: Any) -> tuple[str, Any]:
    """A knob's full key and its JSON-able value, checked alone against its type and bounds."""
    knob = find_knob(key)
    if knob.section == "places":
        raise SettingsError([f"{knob.key} says where files lie and can't be overridden; set {knob.env} instead."])
    section = next(section for section in SECTIONS if section.title == knob.section)
    problems: list[str] = []
    given = _placed({knob.key: _Given(value, "override", key)}, problems, os.environ)
    built = _build(section, given, problems)
    if problems:
        raise SettingsError(problems)
    return knob.key, built.model_dump(mode="json")[knob.name]


def read_overrides(locations: Locations) -> dict[str, Any]:
    """The overrides kept with the experiment; empty when there are none."""
    check_bucket(locations.work_dir)
    path = locations.overrides_json
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
        problem = "must hold one object of section.name: value"
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        reason = f"can't be read ({error.strerror or error}). Make it readable, or choose another work directory"
        raise SettingsError([f"{shortened(str(path))}: {reason}."]) from None
    except (ValueError, RecursionError) as error:
        problem = f"not valid JSON ({error})"
    raise SettingsError([f"{shortened(str(path))}: {problem}. {_DROP_OVERRIDES}"])


_DROP_OVERRIDES = "To drop all that is kept there: laneb run --reset"


def _placed(given: dict[str, _Given], problems: list[str], environ: Mapping[str, str]) -> dict[str, _Given]:
    """The same with the variables in its places filled in; what is no place is added to the problems."""
    for key, item in given.items():
        if find_knob(key).is_path and isinstance(item.value, str):
            try:
                given[key] = replace(item, value=place(item.value, environ))
            except ValueError as error:
                problems.append(f'{item.label}="{shortened(item.value)}" (from the {item.origin}): {error}.')
    return given


def _given_by_profile(
    tables: dict[str, Any], name: str, problems: list[str], environ: Mapping[str, str]
) -> dict[str, _Given]:
    by_key = {knob.key: knob for knob in all_knobs()}
    titles = [section.title for section in SECTIONS]
    given: dict[str, _Given] = {}
    for title, table in tables.items():
        if title in ("experiment", "description"):
            continue
        if title not in titles or not isinstance(table, dict):
            problems.append(f"profile {name}: [{shortened(title)}] is no section.{nearest(title, titles)}")
            continue
        for key, value in table.items():
            full = f"{title}.{key}"
            if full in by_key:
                given[full] = _Given(value, f"profile {name}", full)
            else:
                problems.append(f"profile {name}: {shortened(full)} is no setting.{_likely(title, key)}")
    given = _placed(given, problems, environ)
    return {key: replace(item, value=_beside_profile(key, item.value, name)) for key, item in given.items()}


def _likely(title: str, key: str) -> str:
    """The knob that a wrong name in a profile's section stands for: one of that name elsewhere, or the most like it."""
    same = [knob.key for knob in all_knobs() if knob.name == key]
    if same:
        return f" Did you mean {same[0]}?"
    alike = nearest(key, [knob.name for knob in all_knobs()])
    if alike:
        name = alike.removeprefix(" Did you mean ").removesuffix("?")
        keys = [knob.key for knob in all_knobs() if knob.name == name]
        mine = [known for known in keys if known.startswith(f"{title}.")]
        return f" Did you mean {(mine or keys)[0]}?"
    return ""


def _beside_profile(key: str, value: Any, profile: str) -> Any:
    """A path in a profile's file is meant from the file's folder, wherever it is read."""
    if not (
        find_knob(key).is_path and isinstance(value, str) and value and "://" not in value and profile.endswith(".toml")
    ):
        return value
    return str(Path(absolute(profile)).parent / Path(value).expanduser())


def _given_by_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, _Given]:
    by_env = {knob.env: knob for knob in all_knobs()}
    given: dict[str, _Given] = {}
    for variable, text in environ.items():
        if variable in by_env:
            # `export LANE_B_ALPHA_OVERRIDE=` is how shell scripts say "not set".
            if value := unquoted(text):
                given[by_env[variable].key] = _Given(value, "environment", variable)
        elif variable.startswith("LANE_B_") and variable != "LANE_B_PROFILE" and variable not in IGNORED_VARIABLES:
            problems.append(f"{variable}: no such setting (from the environment).{nearest(variable, list(by_env))}")
    return _placed(given, problems, environ)


def _given_by_overrides(
    stored: Mapping[str, Any], problems: list[str], environ: Mapping[str, str]
) -> dict[str, _Given]:
    known = {knob.key for knob in all_knobs() if knob.section != "places"}
    known |= {"places.baseline_results_dir", "places.baseline_results_csv"}
    given: dict[str, _Given] = {}
    for key, value in stored.items():
        if key in known:
            given[key] = _Given(value, "override", key)
        else:
            problems.append(
                f"{shortened(key)}: no such setting (from the experiment's overrides)."
                f"{nearest(key, list(known))} {_DROP_OVERRIDES}"
            )
    return _placed(given, problems, environ)


def _build(section: type[Section], given: Mapping[str, _Given], problems: list[str]) -> Any:
    """The section's model from the values that are for it; problems are added as lines, and defaults then stand in."""
    prefix = f"{section.title}."
    of_section = {knob.name: knob for knob in all_knobs() if knob.section == section.title}
    mine = {key.removeprefix(prefix): item for key, item in given.items() if key.startswith(prefix)}
    for name, item in mine.items():
        if of_section[name].on_host == "path" and isinstance(item.value, str):
            mine[name] = replace(item, value=absolute(item.value))
    try:
        return section.model_validate({name: item.value for name, item in mine.items()})
    except ValidationError as error:
        named: set[str] = set()
        for detail in error.errors():
            name = str(detail["loc"][0])
            if name in named:
                continue
            named.add(name)
            item, knob = mine[name], of_section[name]
            value = item.value if isinstance(item.value, str) else json.dumps(item.value, default=str)
            problems.append(
                f'{item.label}="{shortened(value)}" (from the {item.origin}): {_reason(detail)}. '
                f"It is: {knob.info.description}. Allowed: {knob.allowed}."
            )
        return section()


def _reason(detail: Any) -> str:
    message = str(detail["msg"])
    return message.removeprefix("Value error, ")[0].lower() + message.removeprefix("Value error, ")[1:]
