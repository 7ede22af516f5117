import gzip
from pathlib import Path

import pytest
from upath import UPath

from laneb.storage.results import RESULTS_COLUMNS, ResultsError
from laneb.training.imports import check_results_directory, results_place

STEP_TOKENS = 16384
N_SCALING = 110_101_632


def row(seed: int = 41, bpb: object = 0.93, status: str = "ok", **cells: object) -> dict[str, object]:
    values: dict[str, object] = dict.fromkeys(RESULTS_COLUMNS, "")
    values |= {
        "timestamp": "2026-01-02T03:04:05Z", "git_commit": "abc", "experiment_name": f"baseline_d12_s{seed}",
        "seed": seed, "depth": 12, "max_seq_len": 2048, "device_batch_size": 8, "total_batch_size": -1,
        "target_param_data_ratio": -1, "warmdown_ratio": 0.5, "target_metric_threshold": -1, "min_val_bpb": bpb,
        "wall_time_sec": 700, "status": status,
    }  # fmt: skip
    return values | cells


def log(bpb: float = 0.93, *, steps: int = 300, seed: int | None = None, end: str = "", counts: bool = True) -> str:
    said = "" if seed is None else f"seed: {seed}\n"
    matrices = "transformer_matrices    : 84,935,808\n" if counts else ""
    return (
        f"{said}lm_head                 : 25,165,824\n{matrices}"
        "Total batch size 16,384 => gradient accumulation steps: 4\n"
        f"Step 00000 | Validation bpb: 3.200000\nstep {steps - 1:05d}/{steps:05d} (99.00%) | loss: 3.1 | lrm: 0.0 | "
        f"dt: 600.00ms | tok/sec: 27,306 | total time: 2.90m\nStep {steps:05d} | Validation bpb: {bpb:.6f}\n"
        f"{end or f'Total training time: 2.90m{chr(10)}Minimum validation bpb: {bpb:.6f}{chr(10)}'}"
    )


def write(directory: Path, *rows: dict[str, object], logs: dict[str, str] | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    lines = [",".join(RESULTS_COLUMNS), *(",".join(map(str, values.values())) for values in rows)]
    (directory / "results.csv").write_text("\n".join(lines) + "\n")
    for name, text in (logs or {}).items():
        (directory / name).write_text(text)
    return directory


def name(seed: int) -> str:
    return f"baseline_d12_s{seed}_train.log"


def test_rows_with_their_logs_become_runs(tmp_path: Path):
    logs = {name(41): log(0.93, seed=41), name(42): log(0.94)}
    found = check_results_directory(write(tmp_path, row(41), row(42, 0.94), logs=logs), [41, 42])
    assert found.warnings == []
    assert [run.seed for run in found.runs] == [41, 42]
    run = found.runs[0]
    assert (run.depth, run.max_seq_len, run.device_batch_size, run.warmdown_ratio) == (12, 2048, 8, 0.5)
    assert (run.total_batch_size, run.n_scaling_params, run.steps, run.status) == (STEP_TOKENS, N_SCALING, 300, "ok")
    assert (run.min_val_bpb, run.total_training_time_sec, run.wall_time_sec) == (0.93, 174.0, 700.0)
    assert (run.git_commit, run.timestamp_utc, run.run_id) == ("abc", "2026-01-02T03:04:05Z", "baseline_d12_s41")
    assert run.recipe == found.runs[1].recipe and run.fingerprint != found.runs[1].fingerprint


def test_nothing_in_the_directory_is_written(tmp_path: Path):
    write(tmp_path, row(41), logs={name(41): log()})
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    check_results_directory(tmp_path, [41])
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}


def test_all_missing_seeds_are_named_with_the_reason(tmp_path: Path):
    rows = [row(41), row(42, "", "failed_nan"), row(43, ""), row(44, status="failed")]
    with pytest.raises(ResultsError) as error:
        check_results_directory(write(tmp_path, *rows), [41, 42, 43, 44, 45])
    message = str(error.value)
    assert "seed 42's latest run (line 3) is failed_nan" in message
    assert "seed 43's latest run (line 4) has no min_val_bpb" in message
    assert "seed 44's latest run (line 5) is failed" in message
    assert "seed 45 has no row: 1 of 5 required baselines are there" in message


def test_an_older_good_row_does_not_hide_a_failed_latest_one(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"seed 41's latest run \(line 3\) is failed"):
        check_results_directory(write(tmp_path, row(41), row(41, "", "failed")), [41])


def test_the_log_is_compared_with_the_latest_row(tmp_path: Path):
    write(tmp_path, row(41, 0.99), row(41, 0.93), logs={name(41): log(0.93)})
    assert check_results_directory(tmp_path, [41]).warnings == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (log(0.93, seed=42), r"line 2: the row is of seed 41 and its log of seed 42 \(.*s41_train\.log\)"),
        (log(0.931), r"line 2: seed 41's min_val_bpb is 0.93 and the lowest in its log, 0.931 "),
        (log(0.930001), "0.93 and the lowest in its log, 0.930001"),
        (log(0.95, end="\n"), "the lowest in its log, which did not end, 0.95"),
        (log(0.93, end="Step 00301 | Validation bpb: nan\n"), "the row calls seed 41's run ok and its log has a NaN"),
    ],
)
def test_a_log_that_contradicts_its_row_is_refused(tmp_path: Path, text, message):
    with pytest.raises(ResultsError, match=message):
        check_results_directory(write(tmp_path, row(41), logs={name(41): text}), [41])


def test_a_log_that_prints_fewer_digits_than_its_row_does_not_contradict_it(tmp_path: Path):
    text = log(0.93).replace("0.930000", "0.9300").replace("3.200000", "3.2000")
    assert check_results_directory(write(tmp_path, row(41, 0.93004), logs={name(41): text}), [41]).warnings == []
    with pytest.raises(ResultsError, match="lowest"):
        check_results_directory(write(tmp_path, row(41, 0.93006), logs={name(41): text}), [41])


@pytest.mark.parametrize(
    ("cells", "text", "message"),
    [
        ({"target_param_data_ratio": 10.5}, log(), "asked for 10.5 tokens per scaling parameter and trained 0.0446"),
        ({"total_batch_size": 8192}, log(), "has total_batch_size 8192 in its row and 16384 in its log"),
        (
            {"target_metric_threshold": 0.95},
            "Tracking time-to-target using val_bpb with threshold 0.93\n" + log(),
            "has target_metric_threshold 0.95 in its row and 0.93 in its log",
        ),
        ({}, log(end="\n"), "is ok in its row and failed by its log, which did not end"),
        ({}, log(counts=False), "has no the number of scaling parameters in its row and log"),
        ({"depth": ""}, log(), "has no depth in its row and log"),
    ],
)
def test_what_differs_less_is_a_warning_that_names_it(tmp_path: Path, cells, text, message):
    found = check_results_directory(write(tmp_path, row(41, **cells), logs={name(41): text}), [41])
    assert len(found.warnings) == 1 and message in found.warnings[0]
    assert found.warnings[0].startswith(f"{tmp_path / 'results.csv'} line 2: seed 41 ")


def test_minus_1_and_empty_cells_contradict_nothing(tmp_path: Path):
    text = "Tracking time-to-target using val_bpb with threshold 0.93\n" + log()
    for value in (-1, ""):
        names = ("total_batch_size", "target_param_data_ratio", "target_metric_threshold")
        write(tmp_path, row(41, **dict.fromkeys(names, value)), logs={name(41): text})
        assert check_results_directory(tmp_path, [41]).warnings == []


def test_a_ratio_cut_to_whole_steps_is_no_difference(tmp_path: Path):
    ratio = 1500.9 * STEP_TOKENS / N_SCALING
    logs = {name(41): log(steps=1500)}
    assert (
        check_results_directory(write(tmp_path, row(41, target_param_data_ratio=ratio), logs=logs), [41]).warnings == []
    )
    more = write(tmp_path, row(41, target_param_data_ratio=1600 * STEP_TOKENS / N_SCALING), logs=logs)
    assert "what it trained counts" in check_results_directory(more, [41]).warnings[0]


def test_a_row_without_a_log_counts_for_the_threshold_alone(tmp_path: Path):
    found = check_results_directory(write(tmp_path, row(41)), [41])
    assert found.runs == [] and "has no readable log in the directory" in found.warnings[0]


def test_a_log_under_another_name_is_found_when_only_one_has_the_seed(tmp_path: Path):
    write(tmp_path, row(41), row(4, 0.5), logs={"mine_s41.log": log(0.93), "notes_s4.log": log(0.5)})
    assert [run.seed for run in check_results_directory(tmp_path, [4, 41]).runs] == [4, 41]
    (tmp_path / "other_s41_train.log").write_text(log(0.5))
    found = check_results_directory(tmp_path, [41])
    assert found.runs == [] and "mine_s41.log, other_s41_train.log; none is baseline_d12_s41" in found.warnings[0]


def test_a_seed_that_is_not_required_is_checked_but_not_taken(tmp_path: Path):
    write(tmp_path, row(41), row(50, 0.9), logs={name(41): log(), name(50): log(0.8)})
    with pytest.raises(ResultsError, match="seed 50's min_val_bpb"):
        check_results_directory(tmp_path, [41])
    write(tmp_path, row(41), row(50, 0.8))
    assert [run.seed for run in check_results_directory(tmp_path, [41]).runs] == [41]


def test_the_model_of_the_experiment_makes_up_for_counts_that_a_log_lacks(tmp_path: Path):
    write(tmp_path, row(41), logs={name(41): log(counts=False)})
    found = check_results_directory(tmp_path, [41], n_scaling_params=N_SCALING)
    assert found.runs[0].n_scaling_params == N_SCALING and found.warnings == []


def test_a_file_that_was_sorted_is_a_warning(tmp_path: Path):
    rows = [row(41, 0.93, timestamp="2026-02-01T00:00:00Z"), row(41, 0.94, timestamp="2026-01-01T00:00:00Z")]
    found = check_results_directory(write(tmp_path, *rows), [41])
    assert "line 3 counts, as the last one, but line 2 is dated later" in found.warnings[0]


def test_results_csv_may_lie_elsewhere_and_its_absence_is_named(tmp_path: Path):
    write(tmp_path / "logs", logs={name(41): log()})
    (tmp_path / "logs" / "results.csv").unlink()
    with pytest.raises(ResultsError, match=r"logs/results\.csv is not there"):
        check_results_directory(tmp_path / "logs", [41])
    write(tmp_path / "csv", row(41))
    found = check_results_directory(tmp_path / "logs", [41], csv_path=tmp_path / "csv" / "results.csv")
    assert [run.seed for run in found.runs] == [41]


def test_a_directory_in_a_bucket_is_checked_as_a_folder(tmp_path: Path):
    bucket = UPath("memory://imports")
    for path in write(tmp_path, row(41), logs={name(41): log()}).iterdir():
        (bucket / path.name).write_text(path.read_text())
    assert [run.seed for run in check_results_directory(bucket, [41]).runs] == [41]


def test_packed_logs_are_read(tmp_path: Path):
    write(tmp_path, row(41), row(42))
    (tmp_path / f"{name(41)}.gz").write_bytes(gzip.compress(log().encode()))
    (tmp_path / "mine_s42.log.gz").write_bytes(gzip.compress(log().encode()))
    found = check_results_directory(tmp_path, [41, 42])
    assert ([run.seed for run in found.runs], found.warnings) == ([41, 42], [])


def test_of_a_log_of_several_runs_the_one_that_fits_the_row_counts(tmp_path: Path):
    text = log(0.93) + log(0.91).replace("16,384", "8,192")
    write(tmp_path, row(41), logs={name(41): text})
    assert check_results_directory(tmp_path, [41]).runs[0].total_batch_size == STEP_TOKENS
    write(tmp_path, row(41, 0.92), logs={name(41): text})
    with pytest.raises(ResultsError, match=r"0\.92 and the lowest in its log, 0\.91"):
        check_results_directory(tmp_path, [41])


def test_a_file_that_is_no_log_is_named_and_its_row_counts_alone(tmp_path: Path):
    write(tmp_path, row(41), logs={name(41): "iter 10: loss 3.2430, time 18.50ms, mfu 20.14%\n"})
    found = check_results_directory(tmp_path, [41])
    assert found.runs == [] and "nanoGPT" in found.warnings[0] and "Looked for: " in found.warnings[1]


def test_dates_in_the_form_of_a_spreadsheet_are_not_put_in_order(tmp_path: Path):
    write(
        tmp_path, row(41, timestamp="20.02.2026 06:53"), row(41, timestamp="03.01.2026 06:53"), logs={name(41): log()}
    )
    assert check_results_directory(tmp_path, [41]).warnings == []


def test_the_directory_or_the_csv_may_be_named(tmp_path: Path):
    write(tmp_path, row(41))
    assert results_place(tmp_path) == results_place(tmp_path / "results.csv") == (tmp_path, tmp_path / "results.csv")
    (tmp_path / "results.csv").rename(tmp_path / "baseline_results.csv")
    assert results_place(tmp_path)[1].name == "baseline_results.csv"
    (tmp_path / "baseline_results.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(ResultsError, match=r"holds no results\.csv .*there is mine\.csv: if that is it, give its path"):
        results_place(tmp_path)
    with pytest.raises(ResultsError, match="is not there: give a directory"):
        results_place(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "said",
    ["../../../etc/x", "/etc/x", "..", ".ssh", "a/../b", "a\\..\\b", "x" * 5000, "a\x1b[2Jb", "a\u202eb"],
    ids=ascii,
)
def test_a_run_whose_name_leads_elsewhere_is_named_by_its_seed(tmp_path: Path, said: str):
    directory = write(tmp_path, row(41, experiment_name=said), logs={name(41): log(0.93)})
    found = check_results_directory(directory, [41])
    assert [run.run_id for run in found.runs] == ["baseline_d12_s41"]
    assert found.rows["experiment_name"].tolist() == [said]


def test_a_linked_log_is_read_and_nothing_is_written_through_it(tmp_path: Path):
    outside = tmp_path / "outside.log"
    outside.write_text(log(0.93))
    directory = write(tmp_path / "results", row(41))
    (directory / name(41)).symlink_to(outside)
    (directory / name(42)).symlink_to("/dev/zero")

    def written() -> dict[Path, tuple[int, ...]]:
        """Of each file all but when it was read."""
        found = {path: path.lstat() for path in [outside, *directory.iterdir()]}
        return {path: (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}

    before = written()
    assert check_results_directory(directory, [41]).runs[0].min_val_bpb == 0.93
    assert written() == before
