"""What rotted, was cut or is missing is found, named, and never raises where only the condition is asked for."""

import os
import random
from pathlib import Path

import pytest
from kept_records import run_result, tokenizer

from laneb.knobs import Places
from laneb.places import locate
from laneb.records.baseline import BaselineThreshold, SuccessfulRun
from laneb.records.corpus import TokenizerInfo
from laneb.storage.atomic import StorageError, write_text
from laneb.storage.checksums import checksum, file_checksum, listed, mismatch
from laneb.storage.condition import record_condition, run_condition
from laneb.storage.store import Store

LOG = "Step 00100 | Validation bpb: 2.250000\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a tokenizer, a threshold, and a run in a role."""
    made = Store(locate(Places(base_dir=str(tmp_path)), "micro"))
    made.write(tokenizer(made.locations.corpus_dir / "tokenizer_abc"))
    made.write(
        BaselineThreshold(
            timestamp_utc="2026-01-01T00:00:00Z", results_csv=str(made.locations.baseline_results_csv),
            target_metric_name="val_bpb", threshold_formula="f", threshold_offset=0.02, required_seeds=("41",),
            min_successful_runs=1, successful_runs_count=1, median_min_val_bpb=2.25, recommended_target_threshold=2.27,
            successful_runs=(SuccessfulRun(seed="41", experiment_name="e", min_val_bpb=2.25),),
        )
    )  # fmt: skip
    log = made.locations.baseline_results_dir / "baseline_d2_s41_train.log"
    write_text(log, LOG)
    made.write_run("baseline_s41", run_result(log).model_copy(update={"log_checksum": checksum(LOG.encode())}))
    return made


def test_no_flipped_bit_of_a_record_passes_for_another_answer(store: Store) -> None:
    path, whole = store.run_path("baseline_s41"), store.read_run("baseline_s41", "x")
    data, draw, noticed = path.read_bytes(), random.Random(3), 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            assert store.read_run("baseline_s41", "x") == whole
        except StorageError as error:
            noticed += 1
            assert str(path) in str(error)
            assert run_condition(store, "baseline_s41").state == "damaged"
    # What may change is the layout, and the name of the checksum's own key.
    assert noticed > 0.7 * len(data)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"\0" * 500, b'{"checksum": "no"}']
)
def test_a_cut_or_random_record_is_a_sentence_with_the_way_out(store: Store, content: bytes) -> None:
    path = store.path(BaselineThreshold)
    path.write_bytes(content)
    assert record_condition(store, BaselineThreshold).state == "damaged"
    with pytest.raises(StorageError, match=r"baseline_threshold\.json") as caught:
        store.read(BaselineThreshold)
    assert len(str(caught.value)) < 400 and "laneb run" in str(caught.value)


def test_a_record_from_before_checksums_is_read(store: Store) -> None:
    path, whole = store.path(BaselineThreshold), store.read(BaselineThreshold)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"checksum"' not in line))
    assert store.read(BaselineThreshold) == whole


def test_what_is_missing_beside_a_record_is_missing(store: Store) -> None:
    env = store.locations.baseline_threshold_env
    assert record_condition(store, BaselineThreshold).whole
    text = env.read_text()
    env.write_text(text.replace("2.270000", "2.280000"))
    assert record_condition(store, BaselineThreshold) == ("damaged", f"{env} is not what was written")
    env.unlink()
    assert record_condition(store, BaselineThreshold) == ("missing", f"{env} is not there")
    store.path(BaselineThreshold).unlink()
    assert record_condition(store, BaselineThreshold).state == "missing"


def test_a_roles_log_is_part_of_it(store: Store) -> None:
    log = store.locations.baseline_results_dir / "baseline_d2_s41_train.log"
    assert run_condition(store, "baseline_s41").whole
    log.write_text(LOG.replace("2.25", "2.26"))
    assert run_condition(store, "baseline_s41").state == "damaged"
    log.unlink()
    assert run_condition(store, "baseline_s41") == ("missing", f"{log} is not there")
    assert run_condition(store, "baseline_s42").state == "missing"


def test_a_tokenizers_folder_is_part_of_its_record(store: Store) -> None:
    folder = store.locations.corpus_dir / "tokenizer_abc"
    assert record_condition(store, TokenizerInfo) == ("missing", f"{folder} is not there")
    write_text(folder / "info.json", '{"files": "damaged"}')
    assert record_condition(store, TokenizerInfo).state == "damaged"


def test_a_file_that_changed_behind_its_times_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"a" * 100)
    times = file.stat()
    files = listed(tmp_path, ["a.bin"])
    assert mismatch(tmp_path, files) == ""
    file.write_bytes(b"b" * 100)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "does not match its checksum" in mismatch(tmp_path, files)
    file.write_bytes(b"a" * 99)
    assert mismatch(tmp_path, files) == "a.bin has 99 bytes where 100 were written"
    assert file_checksum(file) == checksum(b"a" * 99)
