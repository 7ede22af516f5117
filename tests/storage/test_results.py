import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from laneb.records.runs import RunResult, ValidationPoint
from laneb.storage.results import (
    COLUMN_TYPES,
    RESULTS_COLUMNS,
    STATUSES,
    ResultsError,
    latest_rows,
    parse_results,
    read_results,
    render_results,
    results_frame,
    results_row,
)
from laneb.storage.tables import UNKNOWN

HEADER = ",".join(RESULTS_COLUMNS) + "\n"


def row(seed: object = 41, bpb: object = 0.93, status: str = "ok", **cells: object) -> str:
    values = dict.fromkeys(RESULTS_COLUMNS, "")
    values |= {
        "timestamp": "2026-01-02T03:04:05Z", "experiment_name": "baseline", "seed": seed, "depth": 12,
        "total_batch_size": -1, "target_metric_threshold": -1, "min_val_bpb": bpb, "status": status,
    }  # fmt: skip
    return ",".join(str(value) for value in (values | cells).values()) + "\n"


def run(**more: object) -> RunResult:
    values: dict[str, object] = {
        "timestamp_utc": "2026-01-02T03:04:05Z", "run_id": "d2_i100_s41", "fingerprint": "f", "backend": "builtin",
        "seed": 41, "depth": 2, "max_seq_len": 128, "device_batch_size": 16, "total_batch_size": 2048,
        "n_scaling_params": 100_000, "steps": 100, "warmdown_ratio": 0.5, "status": "ok",
        "val_curve": (ValidationPoint(0, 0.0, 3.5), ValidationPoint(100, 12.5, 2.25)), "final_train_loss": 4.5,
        "tok_per_sec_median": 15000.5, "dt_median_ms": 136.5, "total_training_time_sec": 12.5, "wall_time_sec": 20.25,
        "peak_mem_mib": 512.0, "device": "cpu", "git_commit": "abc1234",
    }  # fmt: skip
    return RunResult.model_validate(values | more)


def test_the_columns_are_those_of_the_contract_in_its_order():
    assert HEADER == (
        "timestamp,git_commit,experiment_name,seed,depth,max_seq_len,device_batch_size,total_batch_size,"
        "target_param_data_ratio,warmdown_ratio,warmdown_shape,target_metric_name,target_metric_threshold,"
        "time_to_target_sec_measured,time_to_target_sec_extrapolated,extrapolation_method,tok_per_sec_median,"
        "dt_median_ms,wall_time_sec,final_train_loss,min_val_bpb,peak_mem_mib,status\n"
    )


def test_cells_are_read_as_their_columns_types(tmp_path: Path):
    (tmp_path / "results.csv").write_text(
        HEADER + row(41, 0.93) + row(42, "", "failed") + row("43.0", "nan", "failed_nan")
    )
    results = read_results(tmp_path / "results.csv")
    assert list(results.columns) == list(RESULTS_COLUMNS)
    assert list(results["seed"]) == [41, 42, 43]
    assert results["seed"].dtype == "Int64" and results["min_val_bpb"].dtype == "float64"
    assert list(results.index) == [2, 3, 4] and results.index.name == "line"
    assert results["min_val_bpb"].isna().tolist() == [False, True, True]
    assert results["wall_time_sec"].isna().all() and (results["git_commit"] == "").all()
    assert (results["total_batch_size"] == -1).all() and (results["target_metric_threshold"] == -1).all()


def test_the_latest_row_of_a_seed_counts_even_when_an_older_one_was_good():
    results = parse_results(HEADER + row(42, 0.9) + row(41, 0.93) + row(42, "", "failed_nan"))
    latest = latest_rows(results)
    assert list(latest["seed"]) == [41, 42]
    assert list(latest["status"]) == ["ok", "failed_nan"]
    assert list(latest.index) == [3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: it must begin with the header timestamp"),
        ("\n\n", "is empty"),
        (HEADER.replace("seed,", ""), "line 1: the header lacks seed; it must be"),
        (HEADER.replace(",", ":"), "separated by commas, semicolons or tabs"),
        (HEADER.replace("depth", "seed"), "lacks depth"),
        (HEADER.strip() + ",seed\n", "has seed more than once"),
        (HEADER + row() + row(seed="x"), "line 3: seed='x': a whole number|line 3: seed='x': a number"),
        (HEADER + row(seed="41.5"), "line 2: seed='41.5': a whole number"),
        (HEADER + row(seed=""), "line 2: seed is empty"),
        (HEADER + row(bpb="0,9"), "line 2 has 24 cells and the header 23"),
        (HEADER + row(bpb="low"), "line 2: min_val_bpb='low': a number, or empty"),
        (HEADER + row(status="done"), "line 2: status='done': one of ok, failed, failed_nan"),
        (HEADER + row()[:60], "line 2 has .* cells"),
        (HEADER + row(experiment_name='"a\nb"') + row(status="?"), "line 4: status"),
    ],
)
def test_what_is_wrong_is_named_with_line_column_and_value(tmp_path: Path, text, message):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(ResultsError, match=message) as error:
        read_results(tmp_path / "results.csv")
    assert str(tmp_path / "results.csv") in str(error.value)


def test_a_file_that_is_not_there_or_is_no_text_is_named(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"nowhere\.csv is not there"):
        read_results(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultsError, match=r"binary\.csv can't be read"):
        read_results(tmp_path / "binary.csv")


def test_files_as_spreadsheets_and_scripts_leave_them_are_read():
    plain = parse_results(HEADER + row(41) + row(42))
    for text in (
        "\ufeff".encode().decode("utf-8-sig") + HEADER + row(41) + row(42),
        (HEADER + row(41) + row(42)).replace("\n", "\r\n"),
        HEADER + row(41) + "\n" + row(42),
        (HEADER + row(41) + row(42)).rstrip("\n"),
    ):
        pd.testing.assert_frame_equal(parse_results(text).reset_index(drop=True), plain.reset_index(drop=True))
    assert list(parse_results(HEADER + row(41) + HEADER + row(42))["seed"]) == [41, 42]
    more = HEADER.strip() + ",note\n" + row(41).strip() + ",mine\n"
    assert list(parse_results(more)["seed"]) == [41]
    moved = "note," + HEADER + "mine," + row(41)
    assert list(parse_results(moved).columns) == list(RESULTS_COLUMNS)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    (tmp_path / "results.csv").write_text(HEADER + row(41), encoding="utf-8-sig")
    assert len(read_results(tmp_path / "results.csv")) == 1


def test_a_file_in_a_bucket_is_read_as_one_in_a_folder():
    path = UPath("memory://results/results.csv")
    path.write_text(HEADER + row(41))
    assert list(read_results(path)["seed"]) == [41]


def test_a_run_becomes_its_row():
    values = results_row(run(), experiment_name="tiny", target_param_data_ratio=2.5, time_to_target_sec_measured=9.5)
    assert tuple(values) == RESULTS_COLUMNS
    assert values["timestamp"] == "2026-01-02T03:04:05Z" and values["experiment_name"] == "tiny"
    assert (values["seed"], values["min_val_bpb"], values["status"]) == (41, 2.25, "ok")
    assert (values["target_param_data_ratio"], values["target_metric_threshold"]) == (2.5, -1.0)
    assert values["time_to_target_sec_measured"] == 9.5
    assert results_row(run(), experiment_name="tiny")["target_param_data_ratio"] == pytest.approx(2.048)


def test_a_failed_run_without_an_evaluation_has_empty_cells():
    values = results_row(run(val_curve=(), status="failed_nan", final_train_loss=math.nan), experiment_name="t")
    results = parse_results(render_results([values]))
    assert pd.isna(results["min_val_bpb"].iloc[0]) and pd.isna(results["final_train_loss"].iloc[0])
    assert results["status"].iloc[0] == "failed_nan"


text_cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=["Z", "C"]), max_size=8
).filter(lambda text: text not in UNKNOWN)
cells = {
    str: text_cells,
    int: st.none() | st.integers(-1, 2**40),
    float: st.none() | st.floats(allow_nan=True),
}
rows = st.fixed_dictionaries(
    {name: cells[kind] for name, kind in COLUMN_TYPES.items()}
    | {"seed": st.integers(0, 2**31 - 1), "status": st.sampled_from(STATUSES)}
)


@given(st.lists(rows, max_size=4))
def test_what_is_written_is_read_back_digit_for_digit(written):
    read = parse_results(render_results(written))
    pd.testing.assert_frame_equal(read, results_frame(written))
    assert render_results(read.to_dict("records")) == render_results(written)


@given(st.text(max_size=200) | st.text(alphabet='",\n\r41ok', max_size=80).map(lambda text: HEADER + text))
def test_any_text_is_rows_or_the_one_error(text):
    try:
        results = parse_results(text)
    except ResultsError:
        return
    assert results["status"].isin(STATUSES).all() and results["seed"].notna().all()
