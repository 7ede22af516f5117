"""A finished run whose files were damaged: what can be told again is, and nothing is trained for it."""

import errno
import shutil
from pathlib import Path

import pytest

from laneb.records.runs import RunResult
from laneb.storage.checksums import file_checksum
from laneb.training.log import parse_log
from laneb.training.run_directory import (
    failure_since,
    failures_noted,
    note_failure,
    prepare,
    read_result,
    read_spec,
    reason_of,
    write_result,
)
from laneb.training.run_log import RETOLD, publish, run_log
from laneb.training.spec import RunSpec


@pytest.fixture
def finished(uninterrupted, tmp_path: Path) -> tuple[Path, RunSpec, RunResult]:
    """A copy of a finished run, to be damaged at will."""
    runs, spec, result = uninterrupted
    run_dir = tmp_path / "run"
    shutil.copytree(runs.folder / spec.run_id, run_dir)
    return run_dir, spec, result


def test_a_result_knows_the_log_that_it_was_written_with(finished):
    run_dir, _, result = finished
    assert result.log_path == "train.log"
    assert result.log_checksum == file_checksum(run_dir / "train.log")
    assert run_log(run_dir, result) == (run_dir / "train.log").read_text()


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_log_is_told_again_from_the_result(finished, damage):
    run_dir, spec, result = finished
    log = run_dir / "train.log"
    text = log.read_text()
    log.unlink()
    if damage != "missing":
        log.write_text(text[:300] if damage == "cut" else text.replace("bpb: ", "bpb: 0"))
    assert run_log(run_dir, result).startswith(RETOLD)
    told, known = parse_log(log), result.val_curve
    assert [step for step, _ in told.val_curve] == [point.step for point in known]
    assert [bpb for _, bpb in told.val_curve] == pytest.approx([point.bpb for point in known], abs=1e-6)
    assert (told.status, told.total_batch_size, told.n_scaling_params) == ("ok", 128, spec.n_scaling_params)
    again = read_result(run_dir, spec)
    assert again.content_hash() == result.content_hash() and run_log(run_dir, again) == log.read_text()


def test_the_log_of_a_run_that_ended_in_nan_is_told_again_as_one(finished):
    run_dir, _, result = finished
    (run_dir / "train.log").unlink()
    run_log(run_dir, result.model_copy(update={"status": "failed_nan"}))
    assert parse_log(run_dir / "train.log").status == "failed_nan"


def test_a_log_that_lost_a_stretch_before_the_run_ended_is_not_published(finished):
    run_dir, spec, result = finished
    log = run_dir / "train.log"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if not line.startswith("Step 00008")))
    publish(run_dir, spec, result)
    assert log.read_text().startswith(RETOLD)
    assert len(parse_log(log).val_curve) == len(result.val_curve)


def test_a_damaged_result_is_no_result(finished):
    run_dir, spec, _ = finished
    path = run_dir / "result.json"
    path.write_text(path.read_text().replace('"seed": 41', '"seed": 43'))
    assert read_result(run_dir, spec) is None
    assert prepare(run_dir, spec) == "fresh"


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: text.replace('"seed": 41', '"seed": 43')])
def test_a_damaged_spec_of_a_finished_run_is_written_again_and_trains_nothing(finished, damage):
    run_dir, spec, result = finished
    path = run_dir / "spec.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"spec\.json is not a run's spec.*`laneb run`"):
        read_spec(path)
    assert prepare(run_dir, spec) == "done"
    assert read_result(run_dir, spec) == result and read_spec(path).fingerprint == spec.fingerprint


def test_a_specs_shards_are_found_from_where_it_lies(runs, tmp_path):
    spec = runs.spec()
    run_dir = runs.prepared(spec)
    assert str(tmp_path) not in (run_dir / "spec.json").read_text()
    assert read_spec(run_dir / "spec.json") == spec
    shutil.copytree(tmp_path, tmp_path.parent / "copy")
    moved = tmp_path.parent / "copy" / run_dir.relative_to(tmp_path)
    assert read_spec(moved / "spec.json").shards_path == str(tmp_path.parent / "copy" / "shards")
    assert read_spec(moved / "spec.json").fingerprint == spec.fingerprint


def test_a_result_without_its_log_is_not_written(finished):
    run_dir, spec, result = finished
    (run_dir / "result.json").unlink()
    (run_dir / "train.log").unlink()
    with pytest.raises(ValueError, match=r"train\.log can't be written"):
        write_result(run_dir, result)
    assert read_result(run_dir, spec) is None


def test_a_start_that_begins_anew_and_fails_of_the_same_as_the_last_one_still_says_why(tmp_path: Path):
    events = tmp_path / "events.jsonl"
    events.write_text('{"event": "start"}\n' * 50)
    note_failure(tmp_path, "no room")
    known = failures_noted(tmp_path)
    assert failure_since(tmp_path, known) is None
    events.write_text('{"event": "start"}\n')  # without a checkpoint a start begins with the file cut to nothing
    note_failure(tmp_path, "lost for a moment", passing=True)
    note_failure(tmp_path, "no room")
    assert failure_since(tmp_path, known) == "lost for a moment"
    assert failure_since(tmp_path, known, lasting=True) == "no room"


def test_a_full_disk_is_named_where_an_error_names_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, named = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.ENOSPC, "No space", "/a/file")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    assert reason_of(full, tmp_path).startswith(f"{tmp_path / 'temporary'} can't be written: No space left on device")
    assert reason_of(full, tmp_path / "absent").startswith(f"{tmp_path / 'absent'} can't be written: ")
    assert "/a/file" in reason_of(named, tmp_path)
    assert reason_of(ValueError("another"), tmp_path) == "another"
