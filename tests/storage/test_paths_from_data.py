"""Names that data brings (run ids, records, a bucket's keys) lead nowhere but into the folder that they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_records import run_result, tokenizer
from upath import UPath

from laneb.brought import is_plain_name
from laneb.engines.published import fetch
from laneb.knobs import Places
from laneb.places import AnyPath, locate
from laneb.records.base import unsealed_json
from laneb.records.corpus import TokenizerInfo
from laneb.records.runs import RunResult
from laneb.storage.atomic import StorageError, write_text
from laneb.storage.condition import run_condition
from laneb.storage.shared import names, names_below
from laneb.storage.store import Store

OUTSIDE = [
    "../x",
    "..", ".", "/etc/passwd", "a/b", "a\\..\\b", "C:\\x", "a\0b", "a\nb", "\x1b[2J", "n" * 5000, ".hidden", " x",
    "a\u202eb", "../" * 40 + "tmp/x",
]  # fmt: skip
INSIDE = ["baseline_d12_s41", "a run", "%2e%2e", "%2e%2e%2fx", "\u2025", "a\u2215b", "\uff0e\uff0e", "größe", "a;b"]
"""What looks like a way out and is none: no file system or bucket decodes it."""


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyPath]:
    """A work directory on this machine, or in a bucket that this process alone sees."""
    if request.param == "folder":
        yield tmp_path / "deep" / "w"
        return
    bucket = UPath(f"memory://{tmp_path.name}/deep/w")
    yield bucket
    bucket.fs.rm(f"/{tmp_path.name}", recursive=True) if bucket.fs.exists(f"/{tmp_path.name}") else None


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda name: ascii(name)[:24])
def test_no_run_is_named_by_what_leads_elsewhere(name: str) -> None:
    assert not is_plain_name(name)
    data = run_result(Path("train.log")).model_dump(mode="json")
    for field in ("run_id", "fingerprint"):
        with pytest.raises(ValueError, match="no name of a file or folder"):
            RunResult.model_validate(data | {field: name})


@pytest.mark.parametrize("name", INSIDE)
def test_what_only_looks_like_a_way_out_is_a_name_in_a_folder_and_in_a_bucket(place: AnyPath, name: str) -> None:
    assert is_plain_name(name)
    write_text(place / name, "text")
    assert names(place) == [name] and list((place.parent).iterdir()) == [place]


@pytest.mark.parametrize("path", ["../../x.log", "logs/../../../x.log", "a\0b", "..\\x"], ids=ascii)
def test_a_record_whose_path_leads_out_is_damaged(tmp_path: Path, path: str) -> None:
    store = Store(locate(Places(base_dir=str(tmp_path)), "micro"))
    store.write_run("baseline_s41", run_result(Path(path)))
    assert run_condition(store, "baseline_s41").state == "damaged"
    with pytest.raises(StorageError, match="leads out of"):
        store.read_run("baseline_s41", "baseline_runs")
    store.write(tokenizer(Path(path)))
    assert not store.has(TokenizerInfo)


def test_a_buckets_keys_are_fetched_into_their_folder_alone(tmp_path: Path) -> None:
    run = UPath(f"memory://{tmp_path.name}/w/runs/d1_i12_s41")
    for key in ("step_00000005.pt", "../../../escaped.pt", "..\\escaped.pt", "/x.pt"):
        run.fs.store[f"{run.path}/checkpoint/{key}"] = run.fs.open(f"/{tmp_path.name}/content", "wb")
    assert names_below(run / "checkpoint") == ["step_00000005.pt"]
    target = tmp_path / "a" / "scratch" / "run"
    fetch(run, target)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["step_00000005.pt"]


def test_the_records_of_a_lane_hold_such_names_and_no_others(tmp_path: Path) -> None:
    store = Store(locate(Places(base_dir=str(tmp_path)), "micro"))
    path = store.write_run("baseline_s41", run_result(Path("logs/a.log")))
    data = unsealed_json(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | {"run_id": "../../etc"}), encoding="utf-8")
    with pytest.raises(StorageError, match=r"run_id.*no name of a file or folder.*`laneb run` makes it again"):
        store.read_run("baseline_s41", "baseline_runs")
