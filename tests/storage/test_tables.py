"""Tables as spreadsheets and scripts leave them, through the two that people bring: results.csv and the schema CSV."""

from pathlib import Path

import pandas as pd
import pytest

from laneb.storage.atomic import StorageError
from laneb.storage.results import RESULTS_COLUMNS, ResultsError, parse_results, read_results
from laneb.storage.schema_table import SCHEMA_COLUMNS, parse_schema_csv, render_schema_csv
from laneb.storage.tables import decode_table

CELLS = {
    "timestamp": "2026-02-20T06:53:50Z", "git_commit": "df872bc", "experiment_name": "baseline_d12", "seed": "41",
    "depth": "12", "max_seq_len": "2048", "device_batch_size": "4", "total_batch_size": "-1",
    "target_param_data_ratio": "8.0", "warmdown_ratio": "0.5", "warmdown_shape": "linear",
    "target_metric_name": "val_bpb", "target_metric_threshold": "-1", "tok_per_sec_median": "1497965.00",
    "dt_median_ms": "350.00", "wall_time_sec": "605", "final_train_loss": "3.054473", "min_val_bpb": "0.882759",
    "peak_mem_mib": "48501.58", "status": "ok",
}  # fmt: skip


def table(separator: str = ",", *, end: str = "\n", after: str = "", **cells: str) -> str:
    """A results.csv of two seeds."""
    rows = [
        list(RESULTS_COLUMNS),
        *([(CELLS | cells | {"seed": seed}).get(name, "") for name in RESULTS_COLUMNS] for seed in ("41", "42")),
    ]
    return "".join(separator.join(row) + after + end for row in rows)


PLAIN = parse_results(table())
COMMAS = {name: cell.replace(".", ",") for name, cell in CELLS.items() if name.count("_") and cell.count(".") == 1}
FORMS: dict[str, bytes] = {
    "utf-8 with a mark": table().encode("utf-8-sig"),
    "utf-16 with a mark": table().encode("utf-16"),
    "utf-16 without": table().encode("utf-16-le"),
    "utf-16, tabs, CRLF, as Excel's Unicode text": table("\t", end="\r\n").encode("utf-16"),
    "CRLF": table(end="\r\n").encode(),
    "CR": table(end="\r").encode(),
    "a sep line": b"sep=;\r\n" + table(";", end="\r\n").encode(),
    "semicolons": table(";").encode(),
    "semicolons and decimal commas": table(";", **COMMAS).encode(),
    "thousands by points": table(";", **COMMAS | {"tok_per_sec_median": "1.497.965,00"}).encode(),
    "thousands by blanks": table(";", **COMMAS | {"tok_per_sec_median": "1 497 965,00"}).encode(),
    "thousands by commas": table(";", tok_per_sec_median="1,497,965.00", peak_mem_mib="48,501.58").encode(),
    "one thousand that the column tells": table(";", max_seq_len="2,048").encode(),
    "trailing empty columns": table(after=",,").encode(),
    "quoted, thousands by commas": table(tok_per_sec_median='"1,497,965.00"').encode(),
    "None, NA, NaN, null": table(
        time_to_target_sec_measured="NaN", time_to_target_sec_extrapolated="None", extrapolation_method="NA"
    ).encode(),
    "an empty line and blanks": (table() + "\n , ,\n").replace(",41,", ", 41 ,").encode(),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_results_are_the_same_however_they_were_saved(tmp_path: Path, content):
    (tmp_path / "results.csv").write_bytes(content)
    read = read_results(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(read.reset_index(drop=True), PLAIN.reset_index(drop=True))


def test_latin_letters_are_read_as_windows_writes_them(tmp_path: Path):
    (tmp_path / "results.csv").write_bytes(table(experiment_name="Müller–1").encode("cp1252"))
    assert read_results(tmp_path / "results.csv")["experiment_name"].tolist() == ["Müller–1"] * 2


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"tok_per_sec_median": "1,497"} | {name: "" for name in COMMAS if name != "tok_per_sec_median"},
         "line 2: tok_per_sec_median='1,497': it can be 1497 as well as 1.497"),
        (COMMAS | {"wall_time_sec": "1.605"}, "wall_time_sec='1.605': it can be 1605 as well as 1.605"),
        ({"wall_time_sec": "1,605", "dt_median_ms": "350,5", "min_val_bpb": "0.88"}, "it can be 1605 as well as 1.605"),
        ({"min_val_bpb": "88 %"}, "min_val_bpb='88 %': a number, or empty for unknown"),
        ({"min_val_bpb": "0.88,27"}, "min_val_bpb='0.88,27': a number"),
        ({"min_val_bpb": "#DIV/0!"}, "min_val_bpb='#DIV/0!': a number"),
        ({"min_val_bpb": "0x1"}, "min_val_bpb='0x1': a number"),
        ({"depth": "12,5"}, "depth='12,5': a whole number"),
        ({"status": "OK"}, "line 2: status='OK': one of ok, failed, failed_nan"),
    ],
)  # fmt: skip
def test_a_number_that_can_mean_two_things_is_refused_by_line_and_column(cells, said):
    blank = {"target_param_data_ratio": "", "warmdown_ratio": "", "final_train_loss": "", "peak_mem_mib": ""}
    with pytest.raises(ResultsError, match=r"results\.csv line 2") as error:
        parse_results(table(";", **blank | {"dt_median_ms": "", "min_val_bpb": ""} | cells))
    assert said in str(error.value)


def test_what_the_other_numbers_of_the_table_tell_is_believed():
    assert parse_results(table(";", **COMMAS | {"wall_time_sec": "1,605"}))["wall_time_sec"].tolist() == [1.605] * 2
    assert parse_results(table(";", wall_time_sec="1,605"))["wall_time_sec"].tolist() == [1605.0] * 2


def test_a_binary_file_is_no_table():
    for content in (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"\xff\xfe\x00", b"ab\x00cd"):
        with pytest.raises(StorageError, match=r"x.csv can't be read"):
            decode_table(content, "x.csv")


ROW = {
    "timestamp_utc": "2026-02-21T14:33:43Z", "run_id": "laneb_inferred_s41", "seed": "41", "dataset_id": "x",
    "target_metric_threshold": "0.925622", "n_scaling_params": "110101632.0", "lane_b_decision": "inferred",
    "time_to_target_sec_measured": "16369.8", "min_val_bpb": "0.910526", "status": "ok", "notes": "solve_status=ok",
}  # fmt: skip


def schema(separator: str = ",", end: str = "\n", after: str = "", **cells: str) -> str:
    rows = [list(SCHEMA_COLUMNS), [(ROW | cells).get(name, "") for name in SCHEMA_COLUMNS]]
    return "".join(separator.join(row) + after + end for row in rows)


@pytest.mark.parametrize(
    "content",
    [
        schema(end="\r\n").encode("utf-8-sig"),
        schema().encode("utf-16"),
        schema(after=",,").encode(),
        schema(time_to_target_sec_extrapolated="None").encode(),
        schema(end="\r").encode(),
        schema(";", target_metric_threshold="0,925622", time_to_target_sec_measured="16.369,8").encode(),
    ],
)
def test_a_schema_csv_is_read_as_results_are_and_exported_as_every_reader_takes_it(content):
    [plain] = parse_schema_csv(schema(), "x.csv")
    [row] = parse_schema_csv(decode_table(content, "x.csv"), "x.csv")
    assert row.values == plain.values
    # The text is a row's identity in the table: the same file, saved by a spreadsheet, is no other row.
    assert row.text.strip() == plain.text.strip()
    assert parse_schema_csv(render_schema_csv([row.text]), "x.csv")[0].values == plain.values
