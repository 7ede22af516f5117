"""What people bring as settings: values as env files leave them, profiles as other editors do, numbers of no run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from laneb.brought import unquoted
from laneb.plan import planned_runs
from laneb.planning import Design
from laneb.settings import SettingsError, load_settings
from laneb.training.estimate import estimate
from laneb.training.schedule import evaluation_count, evaluation_steps
from laneb.training.surface import read_surface


@pytest.mark.parametrize(
    "given",
    ["/data/w", '"/data/w"', "'/data/w'", "/data/w\r", ' "/data/w"\r\n', "$ROOT/w", "${ROOT}/w", '"${ROOT}/w"'],
)
def test_a_place_that_came_quoted_or_unexpanded_is_the_place_that_was_meant(given: str) -> None:
    settings = load_settings("tiny", environ={"LANE_B_WORK_DIR": given, "ROOT": "/data"}, overrides={})
    assert settings.locations.work_dir == Path("/data/w")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('"/data/w', "a quotation mark is left"),
        ("/data/w'", "a quotation mark is left"),
        ("$NOWHERE/w", "it names $NOWHERE, and NOWHERE is not set"),
        ("${NOWHERE}/w", "it names ${NOWHERE}, and NOWHERE is not set"),
        ("/data\n/w", "a control character"),
        ("/data/\x1b[31mw", "a control character"),
        ("~nobody-of-that-name/w", "it begins with ~"),
    ],
)
@pytest.mark.parametrize("variable", ["LANE_B_WORK_DIR", "NANOCHAT_BASE_DIR", "LANE_B_CORPUS", "LANE_B_INFER_JSON"])
def test_a_place_that_nobody_meant_is_refused_with_its_variable(variable: str, given: str, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings("tiny", environ={variable: given}, overrides={})
    assert variable in str(refusal.value) and said in str(refusal.value)


def test_numbers_and_names_lose_their_quotation_marks_and_arguments_keep_theirs() -> None:
    environ = {
        "LANE_B_DEPTH": '"2"',
        "LANE_B_BASELINE_SEEDS": "'7,8,9'\r",
        "LANE_B_DATASET_ID": '"pile"',
        "LANE_B_ALPHA_OVERRIDE": '""',
        "LANE_B_ENGINE_ARGS": '"--comment=two words" "--mem=8G"',
    }
    settings = load_settings("'tiny'\r", environ=environ, overrides={})
    assert (settings.model.depth, settings.baseline.seeds) == (2, (7, 8, 9))
    assert (settings.data.dataset_id, settings.inference.alpha_override) == ("pile", None)
    assert settings.engine.args == '"--comment=two words" "--mem=8G"'
    assert unquoted('"') == '"'


def test_a_profiles_places_are_filled_in_and_lie_beside_it(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('[places]\nbase_dir = "${SCRATCH}/data"\nwork_dir = "here"\n', encoding="utf-8")
    at = load_settings(str(profile), environ={"SCRATCH": str(tmp_path / "scratch")}, overrides={}).locations
    assert (at.base_dir, at.work_dir) == (tmp_path / "scratch" / "data", tmp_path / "here")


TEXT = 'description = "gr\u00f6\u00dfer"\n[model]\ndepth = 3\n'


@pytest.mark.parametrize(
    "data",
    [TEXT.encode("utf-8-sig"), TEXT.replace("\n", "\r\n").encode(), TEXT.replace("\n", "\r").encode()],
    ids=["byte order mark", "CRLF", "CR"],
)
def test_a_profile_as_another_systems_editor_saves_it_is_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(data)
    assert load_settings(str(tmp_path / "mine.toml"), environ={}, overrides={}).model.depth == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TEXT.encode("utf-16"), "UTF-16, not UTF-8"),
        (TEXT.encode("utf-16-le"), "zero bytes: UTF-16"),
        (TEXT.encode("latin-1"), "line 1 is not UTF-8"),
        (b"a = " + b"[" * 1000 + b"]" * 1000, "nested too deeply"),
        (b"a = " + b"{b=" * 1000 + b"1" + b"}" * 1000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"[model\n", "not valid TOML"),
        (b"#" * 2_000_000, "2,000,000 bytes"),
    ],
    ids=["UTF-16", "UTF-16 without mark", "latin-1", "deep list", "deep table", "huge number", "cut", "large"],
)
def test_a_profile_or_surface_that_is_none_is_one_sentence_with_its_path(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    readers: tuple[Callable[[], object], ...] = (
        lambda: load_settings(str(path), environ={}, overrides={}),
        lambda: read_surface(str(path)),
    )
    for read in readers:
        with pytest.raises(ValueError, match=said) as refusal:
            read()
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "socket or pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to(path.parent / "nowhere"), "no such profile"),
    ],
    ids=["folder", "pipe", "device", "dangling"],
)
def test_what_is_no_file_is_no_profile_and_nothing_waits_for_it(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "mine.toml")
    with pytest.raises(SettingsError, match=said):
        load_settings(str(tmp_path / "mine.toml"), environ={}, overrides={})


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 5000 + ".toml", "../x", "", "/"])
def test_a_name_of_no_profile_is_a_short_sentence(name: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings(name or "no.toml", environ={}, overrides={})
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("experiment", ["../x", "a/b", "..", "a" * 300, "", "\u0661", "a\n"])
def test_an_experiments_name_names_no_other_folder(tmp_path: Path, experiment: str) -> None:
    escaped = experiment.replace("\n", "\\n")
    (tmp_path / "mine.toml").write_text(f'experiment = "{escaped}"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="letters, digits and _ only"):
        load_settings(str(tmp_path / "mine.toml"), environ={}, overrides={})


@pytest.mark.parametrize(
    "environ",
    [
        {"LANE_B_BASELINE_NUM_ITERATIONS": "1000000000000"},
        {"LANE_B_CALIB_ITERS": "750,1000000000000"},
        {"LANE_B_DEFAULT_RATIO": "1e15"},
        {"LANE_B_DEFAULT_RATIO": "1e300"},
        {"LANE_B_DEFAULT_RATIO": "1e308"},
        {"LANE_B_BASELINE_NUM_ITERATIONS": "100000000", "LANE_B_EVAL_EVERY": "1"},
        {"LANE_B_THREADS": "100000"},
        {"LANE_B_STATS_TOKENIZER_THREADS": "100000"},
    ],
    ids=lambda environ: " ".join(environ.values()),
)
def test_what_no_run_can_be_is_refused_at_once(environ: dict[str, str]) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="at most"):
        Design.of(load_settings("tiny", environ=environ, overrides={}))
    assert time.process_time() - began < 1


def test_the_longest_horizon_is_planned_at_once() -> None:
    environ = {
        "LANE_B_BASELINE_NUM_ITERATIONS": "100000000",
        "LANE_B_EVAL_EVERY": "1000000",
        "LANE_B_EVAL_EVERY_LATE": "0",
    }
    began = time.process_time()
    assert estimate(planned_runs(load_settings("tiny", environ=environ, overrides={}))[0].spec).seconds > 1e6
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("steps", "every", "late"), [(1, 1, 1), (2, 5, 1), (30, 7, 3), (300, 40, 5), (9, 3, 3), (10, 100, 25)]
)
def test_evaluations_are_counted_without_listing_them(steps: int, every: int, late: int) -> None:
    listed = evaluation_steps(steps, every, late)
    assert evaluation_count(steps, every, late) == len(listed) == len(set(listed))
    early = [step for step in range(0, steps, every) if 3 * step <= 2 * steps]
    assert list(listed) == [*early, *(step for step in range(0, steps, late) if 3 * step > 2 * steps), steps]
