"""Settings: precedence, origins, and errors that name field, value, origin and what is allowed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneb.places import Locations
from laneb.settings import (
    Settings,
    SettingsError,
    all_knobs,
    find_knob,
    load_settings,
    profile_names,
    validate_override,
)
from laneb.storage.overrides import apply_overrides, write_overrides


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('experiment = "mine"\n[model]\ndepth = 4\n[threshold]\nthreshold_offset = 0.05\n', encoding="utf-8")
    return path


def load(profile: Path, overrides: dict[str, object] | None = None, **environ: str) -> Settings:
    environ.setdefault("NANOCHAT_BASE_DIR", str(profile.parent / "data"))
    return load_settings(str(profile), environ=environ, overrides=overrides)


def problems_of(profile: Path, overrides: dict[str, object] | None = None, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(profile, overrides, **environ)
    return str(caught.value)


def test_environment_beats_override_beats_profile_beats_default(profile: Path) -> None:
    overrides: dict[str, object] = {"model.depth": 5, "threshold.threshold_offset": 0.06}
    settings = load(profile, overrides, LANE_B_DEPTH="6")
    assert settings.model.depth == 6
    assert settings.threshold.threshold_offset == 0.06
    assert settings.model.head_dim == 128
    assert load(profile).model.depth == 4
    assert settings.origins["model.depth"] == "environment"
    assert settings.origins["threshold.threshold_offset"] == "override"
    assert load(profile).origins["model.depth"].startswith("profile")
    assert settings.origins["model.head_dim"] == "default"


def test_what_nobody_set_is_the_recipes_own_and_says_so(profile: Path) -> None:
    february = load(profile, LANE_B_MATRIX_LR="0.1")
    assert (february.model.recipe, february.baseline.customary_ratio) == ("nanochat-2026-02", 10.5)
    assert (february.training.weight_decay, february.training.warmup_steps) == (0.2, -1)
    july = load(profile, {"training.final_lr_share": 0.1}, LANE_B_RECIPE="nanochat-2026-07", LANE_B_MATRIX_LR="0.1")
    assert (july.baseline.customary_ratio, july.training.weight_decay, july.training.warmup_steps) == (12.0, 0.28, 40)
    assert (july.training.matrix_lr, july.training.final_lr_share) == (0.1, 0.1)
    assert july.origins["training.weight_decay"] == july.origins["baseline.default_ratio"] == "recipe"
    assert july.origins["training.matrix_lr"] == "environment"
    assert july.origins["training.final_lr_share"] == "override"


def test_a_warmup_has_one_length(profile: Path) -> None:
    july = load(profile, LANE_B_RECIPE="nanochat-2026-07", LANE_B_WARMUP_RATIO="0.1")
    assert (july.training.warmup_steps, july.training.warmup_ratio) == (-1, 0.1)
    said = problems_of(profile, LANE_B_WARMUP_RATIO="0.1", LANE_B_WARMUP_STEPS="5")
    assert "two lengths of one warmup" in said


def test_every_knob_has_a_variable_a_meaning_and_says_what_it_allows() -> None:
    knobs = list(all_knobs())
    assert len({knob.env for knob in knobs}) == len(knobs)
    for knob in knobs:
        assert knob.env.startswith("LANE_B_") or knob.env == "NANOCHAT_BASE_DIR"
        assert knob.info.description
        assert knob.allowed


def test_a_bad_value_names_variable_value_origin_and_what_is_allowed(profile: Path) -> None:
    message = problems_of(profile, LANE_B_RUN_SEEDS="41;42")
    assert 'LANE_B_RUN_SEEDS="41;42"' in message
    assert "from the environment" in message
    assert "41,42" in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LANE_B_DEPTH", "0"),
        ("LANE_B_DEPTH", "two"),
        ("LANE_B_CALIB_ITERS", "0,5"),
        ("LANE_B_CALIB_ITERS", "5"),
        ("LANE_B_BASELINE_NUM_ITERATIONS", "0"),
        ("LANE_B_BASELINE_SEEDS", "41,41"),
        ("LANE_B_BASELINE_SEEDS", "a,b"),
        ("LANE_B_THRESHOLD_OFFSET", "-0.1"),
        ("LANE_B_THRESHOLD_OFFSET", "nan"),
        ("LANE_B_TOTAL_BATCH_SIZE", "1000"),
        ("LANE_B_SOLVE_METHOD", "guess"),
        ("LANE_B_SKIP_EXISTING", "perhaps"),
        ("LANE_B_WINDOW_PATTERN", "XY"),
        ("LANE_B_CORR_MIN_SEP", "64"),
        ("LANE_B_ALPHA_OVERRIDE", "0"),
        ("LANE_B_BACKEND", "nanochat"),
        ("LANE_B_N_KV_HEAD", "5"),
        ("LANE_B_BASELINE_MIN_SUCCESS", "9"),
    ],
)
def test_a_value_out_of_bounds_or_in_contradiction_is_refused_by_name(profile: Path, variable: str, value: str) -> None:
    message = problems_of(profile, **{variable: value})
    assert variable in message or find_knob(variable).key in message
    assert value in message


def test_unknown_names_are_refused_with_the_nearest_known_one(profile: Path) -> None:
    assert "LANE_B_DEPTH" in problems_of(profile, LANE_B_DEPHT="3")
    profile.write_text('experiment = "mine"\n[model]\ndepht = 4\n[modle]\nx = 1\n', encoding="utf-8")
    message = problems_of(profile)
    assert "model.depth" in message
    assert "Did you mean model?" in message


def test_all_problems_are_said_at_once(profile: Path) -> None:
    message = problems_of(profile, LANE_B_DEPTH="0", LANE_B_RUN_SEEDS="x")
    assert len(message.splitlines()) == 2


def test_variables_of_older_scripts_are_ignored_and_named(profile: Path) -> None:
    settings = load(profile, LANE_B_NUM_ITERATIONS="7")
    assert settings.ignored_variables == ("LANE_B_NUM_ITERATIONS",)


def test_an_empty_variable_is_a_variable_that_is_not_set(profile: Path) -> None:
    assert load(profile, LANE_B_ALPHA_OVERRIDE="", LANE_B_DEPTH=" ").model.depth == 4


def test_places_follow_the_names_of_the_contract(profile: Path, tmp_path: Path) -> None:
    at = load(profile).locations
    work = tmp_path / "data" / "laneb" / "mine"
    assert at.work_dir == work
    assert at.baseline_results_csv == work / "baseline" / "results" / "results.csv"
    assert at.infer_json == work / "infer.json"
    assert at.duckdb_path == tmp_path / "data" / "laneb" / "lane_b.duckdb"
    moved = load(profile, LANE_B_WORK_DIR=str(tmp_path / "w"), LANE_B_STATS_JSON=str(tmp_path / "s.json")).locations
    assert moved.calib_json == tmp_path / "w" / "calibration.json"
    assert moved.stats_json == tmp_path / "s.json"


def test_a_bucket_is_a_work_directory_and_runs_stay_on_this_machine(profile: Path, tmp_path: Path) -> None:
    at = load(profile, LANE_B_WORK_DIR="memory://lane").locations
    assert str(at.infer_json).endswith("lane/infer.json")
    assert at.runs_dir == tmp_path / "data" / "laneb" / "mine" / "runs"


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_along_loads(name: str, tmp_path: Path) -> None:
    settings = load_settings(name, environ={"NANOCHAT_BASE_DIR": str(tmp_path)})
    assert settings.experiment
    assert len(settings.calibration.iterations) >= 3
    assert len(settings.calibration.all_seeds) >= 2


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tiny"):
        load_settings("huge", environ={})


@pytest.fixture
def places(profile: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(profile.parent / "data"))
    return load(profile).locations


def test_overrides_of_the_launchpad_are_kept_beside_each_other_until_a_reset(profile: Path, places: Locations) -> None:
    first, said = apply_overrides(str(profile), places, {"statistics.corr_max_sep": 32})
    assert first.statistics.corr_max_sep == load(profile).statistics.corr_max_sep == 32
    assert said == ["statistics.corr_max_sep: 32, new"]
    second, said = apply_overrides(str(profile), places, {"threshold.threshold_offset": 0.03})
    assert (second.statistics.corr_max_sep, second.threshold.threshold_offset) == (32, 0.03)
    silent, said = apply_overrides(str(profile), places, {})
    assert (silent.statistics.corr_max_sep, said) == (32, [])
    third, said = apply_overrides(str(profile), places, {"statistics.corr_max_sep": 32}, reset=True)
    assert (third.statistics.corr_max_sep, third.threshold.threshold_offset) == (32, 0.05)
    assert said == ["threshold.threshold_offset: the override 0.03 is dropped"]
    assert apply_overrides(str(profile), places, {}, reset=True)[0].statistics.corr_max_sep == 64


def test_a_launchpad_that_shows_an_older_override_than_the_kept_one_is_refused(
    profile: Path, places: Locations
) -> None:
    shown = {"statistics.corr_max_sep": 32}
    write_overrides(places, {"statistics.corr_max_sep": 16})
    with pytest.raises(SettingsError, match=r"opened with 32, .* since then 16 is kept. Reload"):
        apply_overrides(str(profile), places, {**shown, "threshold.threshold_offset": 0.03}, shown=shown)
    assert load(profile).statistics.corr_max_sep == 16
    # With a reset, what is named is meant.
    assert apply_overrides(str(profile), places, shown, shown=shown, reset=True)[0].statistics.corr_max_sep == 32


def test_the_launchpad_refuses_partitions_programs_and_what_the_environment_sets_all_at_once(
    profile: Path, places: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANE_B_CORR_MAX_SEP", "16")
    wrong = {
        "baseline.seeds": ([1, 2], "reload the code location"),
        "training.nanochat_python": ("/bin/true", "names a file, a program or its arguments"),
        "training.launcher_args": ("--no-python rm", "names a file, a program or its arguments"),
        "data.corpus": ("/etc", "names a file, a program or its arguments"),
        "threshold.offset": (1, "no such setting"),
        "places.work_dir": ("x", "LANE_B_WORK_DIR"),
        "model.depth": (0, "at least 1"),
    }
    with pytest.raises(SettingsError) as refused:
        apply_overrides(str(profile), places, {key: value for key, (value, _) in wrong.items()})
    assert len(refused.value.problems) == len(wrong)
    for problem, (_, said) in zip(refused.value.problems, wrong.values(), strict=True):
        assert said in problem
    with pytest.raises(SettingsError, match="the environment sets it"):
        apply_overrides(str(profile), places, {"statistics.corr_max_sep": 32})
    assert not places.overrides_json.exists()


def test_seeds_and_what_names_a_program_survive_a_reset_by_the_launchpad(profile: Path, places: Locations) -> None:
    fixed = {"candidates.run_seeds": [7], "training.launcher_args": "--nproc-per-node=2"}
    write_overrides(places, {**fixed, "statistics.corr_max_sep": 32})
    settings, _ = apply_overrides(str(profile), places, {}, reset=True)
    assert settings.overrides == fixed
    assert settings.statistics.corr_max_sep == 64


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6, unique=True))
def test_seeds_read_the_same_from_text_and_from_a_list(seeds: list[int]) -> None:
    text = ", ".join(map(str, seeds))
    assert validate_override("run_seeds", text) == validate_override("candidates.run_seeds", seeds)
    assert validate_override("LANE_B_RUN_SEEDS", text)[1] == seeds


@given(st.text(max_size=20))
def test_any_text_for_a_number_is_a_number_or_one_clear_error(text: str) -> None:
    try:
        key, value = validate_override("depth", text)
    except SettingsError as error:
        assert "depth" in str(error)
    else:
        assert key == "model.depth"
        assert 1 <= value <= 256
