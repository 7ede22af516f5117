import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from kept_records import run_result, tokenizer

from laneb.knobs import Places
from laneb.places import Locations, locate
from laneb.records.candidates import CandidateRow
from laneb.records.corpus import TokenizerInfo
from laneb.storage.store import Store


def places(base: Path, **more: str) -> Locations:
    return locate(Places(base_dir=str(base), **more), "micro")


@pytest.mark.parametrize("work_dir", ["", "elsewhere"])
def test_a_copied_base_names_its_own_files_when_the_original_is_gone(tmp_path: Path, work_dir: str) -> None:
    def at(base: Path) -> Locations:
        return places(base, work_dir=str(base / work_dir)) if work_dir else places(base)

    first = Store(at(tmp_path / "first"))
    first.write(tokenizer(first.locations.corpus_dir / "tokenizer_abc"))
    first.write_run("baseline_s41", run_result(first.locations.baseline_results_dir / "a.log"))
    first.write_run("laneb_inferred_s41", run_result(first.locations.log_dir / "b.log"))
    assert not [path for path in (tmp_path / "first").rglob("*.json") if str(tmp_path) in path.read_text()]
    shutil.move(tmp_path / "first", tmp_path / "second")
    second = Store(at(tmp_path / "second"))
    assert second.read(TokenizerInfo).path == str(second.locations.corpus_dir / "tokenizer_abc")
    assert second.read_run("baseline_s41", "x").log_path == str(second.locations.baseline_results_dir / "a.log")
    assert second.read_run("laneb_inferred_s41", "x").log_path == str(second.locations.log_dir / "b.log")


def test_records_that_hold_whole_paths_as_older_ones_do_are_read_and_never_lead_to_the_original(tmp_path: Path) -> None:
    first, second = Store(places(tmp_path / "first")), Store(places(tmp_path / "second"))
    older = [
        (second.path(TokenizerInfo), tokenizer(first.locations.corpus_dir / "tokenizer_abc")),
        (second.run_path("laneb_calib_9_s41"), run_result(first.locations.log_dir / "c.log")),
        (second.run_path("imported_s41"), run_result("/their/results/c.log")),
    ]
    for path, record in older:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record.model_dump(mode="json")))
    assert second.read(TokenizerInfo).path == str(second.locations.corpus_dir / "tokenizer_abc")
    assert second.read_run("laneb_calib_9_s41", "x").log_path == str(second.locations.log_dir / "c.log")
    assert second.read_run("imported_s41", "x").log_path == "/their/results/c.log"


def test_the_manifest_of_a_copy_is_written_again_with_its_own_logs(tmp_path: Path) -> None:
    first, second = Store(places(tmp_path / "first")), Store(places(tmp_path / "second"))
    row = CandidateRow(
        run_id="laneb_inferred_s41", seed=41, mode="inferred", chosen_ratio=9.5, status="ok",
        log_path=str(first.locations.log_dir / "laneb_inferred_s41.log"),
    )  # fmt: skip
    first.write_manifest([row])
    assert first.name_this_place() == []
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    [read] = second.read_manifest()
    assert read.log_path == str(second.locations.log_dir / "laneb_inferred_s41.log")
    assert second.name_this_place() == [second.locations.manifest_csv]
    assert str(tmp_path / "first") not in second.locations.manifest_csv.read_text()
    assert second.name_this_place() == []


def test_a_log_directory_of_its_own_is_found_in_the_copy_too(tmp_path: Path) -> None:
    first = Store(replace(places(tmp_path / "first"), log_dir=tmp_path / "logs"))
    first.write_run("laneb_calib_9_s41", run_result(tmp_path / "logs" / "c.log"))
    second = Store(replace(places(tmp_path / "first"), log_dir=tmp_path / "moved"))
    assert second.read_run("laneb_calib_9_s41", "x").log_path == str(tmp_path / "moved" / "c.log")
