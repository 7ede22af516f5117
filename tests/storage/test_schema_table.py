"""The schema table: what is kept, what is replaced, and CSVs that come back as they went in."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock, Timeout
from forked_python import ForkedPython
from hypothesis import given
from hypothesis import strategies as st
from warehouse_load import load

from laneb.report.comparison import comparison_rows
from laneb.storage.atomic import StorageError
from laneb.storage.condition import duckdb_condition
from laneb.storage.schema_table import SCHEMA_COLUMNS, SchemaRow, parse_schema_csv, render_schema_csv, row_from_values
from laneb.storage.warehouse import Warehouse
from laneb.storage.warehouse_tables import TABLE


def row(run_id: str = "laneb_inferred_s41", **values: object) -> SchemaRow:
    return row_from_values({"run_id": run_id, "seed": 41, "lane_b_decision": "inferred", "status": "ok", **values})


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lane_b.duckdb", wait_seconds=20)


def test_an_equal_key_is_kept_by_default_and_replaced_on_request(warehouse: Warehouse) -> None:
    assert warehouse.upsert("tiny", [row(notes="first")], ["f1"], skip_existing=True) == 1
    assert warehouse.upsert("tiny", [row(notes="second")], ["f1"], skip_existing=True) == 0
    assert list(warehouse.current_rows("tiny")["notes"]) == ["first"]
    assert warehouse.upsert("tiny", [row(notes="third")], ["f1"], skip_existing=False) == 1
    assert list(warehouse.all_rows("tiny")["notes"]) == ["third"]


def test_a_new_campaign_is_never_taken_for_an_existing_one(warehouse: Warehouse) -> None:
    warehouse.upsert("tiny", [row(notes="old")], ["f1"], skip_existing=True)
    warehouse.upsert("tiny", [row(notes="new")], ["f2"], skip_existing=True)
    assert list(warehouse.current_rows("tiny")["notes"]) == ["new"]
    assert list(warehouse.all_rows("tiny")["notes"]) == ["old", "new"]


def test_going_back_to_an_earlier_campaign_makes_its_row_current_again(warehouse: Warehouse) -> None:
    for notes, fingerprint in (("a", "f1"), ("b", "f2"), ("a again", "f1")):
        warehouse.upsert("tiny", [row(notes=notes)], [fingerprint], skip_existing=True)
    assert list(warehouse.current_rows("tiny")["notes"]) == ["a"]


def test_experiments_share_the_file_and_not_their_rows(warehouse: Warehouse) -> None:
    warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True)
    warehouse.upsert("small", [row()], ["f1"], skip_existing=True)
    assert len(warehouse.current_rows("tiny")) == 1
    assert len(warehouse.all_rows()) == 2


def test_experiments_are_compared_by_their_current_runs_that_ended_well(warehouse: Warehouse) -> None:
    assert warehouse.arms().empty
    for seed, time in ((41, 10.0), (42, None), (43, 14.0)):
        earlier = row(f"laneb_inferred_s{seed}", chosen_ratio=9.0, time_to_target_sec_measured=1.0)
        current = row(f"laneb_inferred_s{seed}", chosen_ratio=2.0, time_to_target_sec_measured=time)
        warehouse.upsert("tiny", [earlier], ["f1"], skip_existing=True)
        warehouse.upsert("tiny", [current], ["f2"], skip_existing=True)
    warehouse.upsert("tiny", [row("failed", status="failed_nan", chosen_ratio=3.0)], ["f1"], skip_existing=True)
    warehouse.upsert("small", [row(lane_b_decision="fallback", chosen_ratio=5.0)], ["f1"], skip_existing=True)
    shown = [
        ("tiny", "inferred", "3", "2 of 3", "2", "-", "-", "12.00 s", "-"),
        ("small", "fallback", "1", "0 of 1", "5", "-", "-", "-", "-"),
    ]
    assert comparison_rows(warehouse.arms()) == shown


def test_unknown_numbers_are_empty_cells_and_nulls(warehouse: Warehouse) -> None:
    warehouse.upsert("tiny", [row(min_val_bpb=float("nan"))], ["f1"], skip_existing=True)
    assert "nan" not in warehouse.csv_texts("tiny")[0]
    assert warehouse.current_rows("tiny")["min_val_bpb"].isna().all()


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)


@given(st.lists(st.tuples(cells, st.floats(allow_nan=False, allow_infinity=False)), max_size=5))
def test_what_we_write_reads_back_as_it_was(rows: list[tuple[str, float]]) -> None:
    made = [row(f"run{number}", notes=notes, min_val_bpb=bpb) for number, (notes, bpb) in enumerate(rows)]
    text = render_schema_csv([item.text for item in made])
    assert [item.values["min_val_bpb"] for item in parse_schema_csv(text, "x")] == [bpb for _, bpb in rows]
    assert render_schema_csv([item.text for item in parse_schema_csv(text, "x")]) == text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_made_elsewhere_is_exported_byte_for_byte(warehouse: Warehouse, end: str) -> None:
    odd = ["2026-01-02T03:04:05Z", "", "laneb_inferred_s41", "41", '"a, b"', "val_bpb", "0.930000", *[""] * 5, "9.50",
           "inferred", "1e2", "", "0.90", "", "", "ok", '"two\nlines"']  # fmt: skip
    text = ",".join(SCHEMA_COLUMNS) + end + ",".join(odd) + end
    rows = parse_schema_csv(text, "old.csv")
    assert warehouse.import_rows("tiny", rows, skip_existing=True) == 1
    assert warehouse.import_rows("tiny", rows, skip_existing=True) == 0
    assert render_schema_csv(warehouse.csv_texts("tiny")) == text
    assert warehouse.current_rows("tiny")["time_to_target_sec_measured"][0] == 100.0


def test_another_header_is_refused_and_the_difference_named() -> None:
    header = ",".join(["surprise", *SCHEMA_COLUMNS[1:]])
    with pytest.raises(StorageError, match=r"missing timestamp_utc; unknown surprise"):
        parse_schema_csv(header + "\n", "x.csv")
    with pytest.raises(StorageError, match="another order"):
        parse_schema_csv(",".join(reversed(SCHEMA_COLUMNS)) + "\n", "x.csv")


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [("seed", "x", "seed='x'"), ("seed", "1.5", "whole number"), ("run_id", "", "run_id is empty"),
     ("lane_b_decision", "best", "one of inferred")],
)  # fmt: skip
def test_a_bad_cell_names_line_and_column(column: str, cell: str, said: str) -> None:
    values = {"run_id": "r", "seed": "41", "lane_b_decision": "inferred", column: cell}
    line = ",".join(values.get(name, "") for name in SCHEMA_COLUMNS)
    with pytest.raises(StorageError, match=f"x.csv line 2.*{said}"):
        parse_schema_csv(",".join(SCHEMA_COLUMNS) + "\n" + line + "\n", "x.csv")


WRITER = """
import sys
from pathlib import Path
from laneb.storage.schema_table import row_from_values
from laneb.storage.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), wait_seconds=60)
for number in range(5):
    values = {"run_id": f"run{number}", "seed": number, "lane_b_decision": "inferred", "status": "ok"}
    warehouse.upsert(sys.argv[2], [row_from_values(values)], ["f"], skip_existing=True)
"""


def test_eight_processes_that_write_at_once_lose_and_double_nothing(warehouse: Warehouse) -> None:
    forked = ForkedPython("laneb.storage.schema_table", "laneb.storage.warehouse", "duckdb", "pandas")
    writers = [forked.start("-c", WRITER, str(warehouse.path), f"experiment{number}") for number in range(8)]
    assert [writer.communicate() for writer in writers] == [("", "")] * 8
    assert [writer.returncode for writer in writers] == [0] * 8
    forked.end()
    assert len(warehouse.all_rows()) == 40


HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_held_file_is_waited_for_and_then_reported_with_its_holder(warehouse: Warehouse) -> None:
    warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(warehouse.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    said: list[str] = []
    with pytest.raises(StorageError, match=f"PID {holder.pid}"):
        Warehouse(warehouse.path, wait_seconds=0.3, say=said.append).current_rows("tiny")
    assert said == [], "nobody is told of a moment"
    patient = Warehouse(warehouse.path, wait_seconds=1.5, say=said.append)
    with pytest.raises(StorageError, match=r"since more than 1\.5 s"):
        patient.current_rows("tiny")
    with FileLock(warehouse.path.with_name(f".{warehouse.path.name}.lock")), pytest.raises(StorageError):
        patient.upsert("tiny", [row()], ["f1"], skip_existing=True)
    assert len(said) == 2
    assert all(f"(PID {holder.pid}): waiting for it, up to 1.5 s" in sentence for sentence in said), said
    holder.kill()
    holder.wait()
    assert len(warehouse.current_rows("tiny")) == 1


READER = """
import sys
from pathlib import Path
from laneb.storage.warehouse import Warehouse
print("asks", flush=True)
with Warehouse(Path(sys.argv[1])).connect(read_only=True) as connection:
    print(connection.execute("SELECT count(*) FROM lane_b_inference_schema").fetchall(), flush=True)
    sys.stdin.read()
"""

SECOND = """
import sys
from pathlib import Path
from laneb.storage.schema_table import row_from_values
from laneb.storage.warehouse import Warehouse
row = row_from_values({"run_id": "second", "seed": 42, "lane_b_decision": "inferred", "status": "ok"})
Warehouse(Path(sys.argv[1])).upsert("tiny", [row], ["f2"], skip_existing=True)
"""


def test_a_writer_waits_for_those_that_read_and_lets_nobody_else_in_before_it(warehouse: Warehouse) -> None:
    def started(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(warehouse.path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert script == SECOND or process.stdout.readline() == "asks\n"
        return process

    warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True)
    reads = started(READER)
    assert reads.stdout is not None and reads.stdout.readline() == "[(1,)]\n"
    writes, turn = started(SECOND), FileLock(warehouse.path.with_name(f".{warehouse.path.name}.lock"))
    while writes.poll() is None:
        try:
            turn.acquire(timeout=0)
        except Timeout:
            break  # it has its turn, and waits
        turn.release()
    assert writes.poll() is None
    later = started(READER)
    with pytest.raises(Timeout):
        turn.acquire(timeout=0)
    reads.communicate("")
    assert later.communicate("")[0] == "[(2,)]\n"
    assert writes.wait() == 0


FULL = """
import resource, sys
from pathlib import Path
from laneb.storage.warehouse import Warehouse
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    with Warehouse(Path(sys.argv[1])).connect():
        pass
except ValueError as error:
    print(error)
"""


def test_a_database_that_finds_no_room_to_be_made_is_made_when_there_is_some(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "lane_b.duckdb")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    full = subprocess.run(
        [sys.executable, "-c", FULL, str(warehouse.path)], env=environment, capture_output=True, text=True, check=True
    )
    assert full.stdout.startswith(str(warehouse.path)) and "File too large. Free some space" in full.stdout
    assert [path.name for path in tmp_path.iterdir()] == [".lane_b.duckdb.lock"]
    assert warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True) == 1


def test_a_table_that_scripts_made_is_taken_over_with_its_rows(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.path)) as connection:
        columns = ", ".join(f"{name} {'BIGINT' if name == 'seed' else 'VARCHAR'}" for name in SCHEMA_COLUMNS)
        connection.execute(f"CREATE TABLE {TABLE} ({columns})")
        connection.execute(f"INSERT INTO {TABLE} (run_id, seed, lane_b_decision) VALUES ('old', 41, 'inferred')")
    warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True)
    assert sorted(warehouse.all_rows()["run_id"]) == ["laneb_inferred_s41", "old"]


def test_a_file_of_a_newer_version_is_refused(warehouse: Warehouse) -> None:
    warehouse.upsert("tiny", [row()], ["f1"], skip_existing=True)
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("UPDATE lane_b_schema_version SET version = 99")
    with pytest.raises(StorageError, match="version 99"):
        warehouse.upsert("tiny", [row()], ["f2"], skip_existing=True)


def test_an_exception_inside_gives_the_file_back(warehouse: Warehouse) -> None:
    with pytest.raises(RuntimeError), warehouse.connect():
        raise RuntimeError
    check = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    assert subprocess.run([sys.executable, "-c", check, str(warehouse.path)], check=False).returncode == 0


def test_processes_that_are_killed_lose_and_double_nothing_that_was_said_to_be_written(tmp_path: Path) -> None:
    found = load(tmp_path, writers=3, readers=2, rows=4, kills=2)
    assert (found.killed, found.lost, found.doubled, found.foreign, found.failures) == (2, 0, 0, 0, ())
    assert found.written >= 4


@pytest.mark.parametrize("damage", ["emptied", "cut", "random", "middle"])
def test_a_file_that_is_no_database_any_more_is_named_with_the_way_out(warehouse: Warehouse, damage: str) -> None:
    warehouse.upsert("tiny", [row(f"laneb_inferred_s{seed}") for seed in range(50)], ["f"] * 50, skip_existing=True)
    data = warehouse.path.read_bytes()
    rotten = bytes(byte ^ 0x5A for byte in data[12288:])
    damaged = {
        "emptied": b"",
        "cut": data[: len(data) // 2],
        "random": b"\x5a" * len(data),
        "middle": data[:12288] + rotten,
    }
    warehouse.path.write_bytes(damaged[damage])
    with pytest.raises(StorageError, match="delete it: each experiment's next `laneb run`") as refusal:
        warehouse.current_rows("tiny")
    assert str(warehouse.path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_one_bit_that_flipped_anywhere_changes_no_row_without_a_word(warehouse: Warehouse) -> None:
    rows = [row(f"laneb_inferred_s{seed}") for seed in range(50)]
    warehouse.upsert("tiny", rows, [f"f{seed}" for seed in range(50)], skip_existing=True)
    whole, expected = warehouse.path.read_bytes(), warehouse.all_rows()
    conditions = []
    for place in range(1, len(whole), len(whole) // 45):
        warehouse.path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        conditions.append(duckdb_condition(warehouse.path))
        if conditions[-1].whole:
            assert warehouse.all_rows().equals(expected)
        else:
            assert str(warehouse.path) in conditions[-1].reason
    assert {one.state for one in conditions} == {"whole", "damaged"}
