"""What a checkout trains on, as part of a run's identity and as the corpus of the statistics."""

import shutil
import sys
from pathlib import Path

import pytest
from stand_in_checkout import write_checkout, write_shard

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.corpus.checkout_data import (
    CheckoutData,
    data_folder,
    open_checkout_corpus,
    read_checkout_data,
    training_files,
)
from laneb.corpus.documents import open_corpus


def opened(root: Path) -> Checkout:
    return find_checkout(str(root), sys.executable)


def data_in(folder: Path) -> CheckoutData:
    return CheckoutData.in_files(training_files(folder), None)


@pytest.mark.parametrize(("version", "folder"), [("2026-02", "base_data"), ("2026-07", "base_data_climbmix")])
def test_the_corpus_is_what_the_version_trains_on_with_its_last_file_held_out(tmp_path: Path, version, folder):
    checkout = opened(write_checkout(tmp_path, version=version))
    assert data_folder(checkout) == tmp_path / "base" / folder
    corpus = open_checkout_corpus(checkout, "")
    assert [(source.name, source.held_out) for source in corpus.sources] == [
        ("shard_00000.parquet", False), ("shard_00001.parquet", False), ("shard_00002.parquet", True),
    ]  # fmt: skip
    assert corpus.kind == "nanochat" and len(list(corpus.documents())) == 120


def test_a_newer_version_takes_the_older_data_where_that_is_all_there_is(tmp_path: Path):
    write_checkout(tmp_path, version="2026-07")
    (tmp_path / "base" / "base_data_climbmix").rename(tmp_path / "base" / "base_data")
    assert data_folder(opened(tmp_path)) == tmp_path / "base" / "base_data"


def test_a_version_whose_own_module_can_not_say_is_known_by_its_source(tmp_path: Path):
    write_checkout(tmp_path / "july", version="2026-07")
    (tmp_path / "july" / "nanochat" / "dataset.py").write_text("import nowhere  # base_data_climbmix\n")
    assert data_folder(opened(tmp_path / "july")).name == "base_data_climbmix"
    shutil.copytree(tmp_path / "july", tmp_path / "older")
    (tmp_path / "older" / "nanochat" / "dataset.py").write_text("import nowhere\n")
    assert data_folder(opened(tmp_path / "older")).name == "base_data"


@pytest.mark.parametrize(
    ("shards", "found"), [(1, r"one parquet file alone, shard_00000\.parquet"), (0, "no parquet file")]
)
def test_fewer_than_two_files_are_refused_since_the_script_would_wait_for_ever(tmp_path: Path, shards, found):
    checkout = opened(write_checkout(tmp_path, shards=shards))
    with pytest.raises(CheckoutError, match=rf"base_data holds {found}.*`python -m nanochat\.dataset -n 8"):
        open_checkout_corpus(checkout, "")


def test_a_corpus_that_names_the_same_files_is_let_be_and_any_other_refused(tmp_path: Path):
    checkout = opened(write_checkout(tmp_path))
    folder = tmp_path / "base" / "base_data"
    own = open_checkout_corpus(checkout, "")
    assert open_checkout_corpus(checkout, str(folder)).fingerprint == own.fingerprint
    with pytest.raises(CheckoutError, match=r"LANE_B_CORPUS=.*trains on the 3 files in .*base_data"):
        open_checkout_corpus(checkout, str(folder / "shard_00000.parquet"))


def test_other_files_another_order_or_another_content_are_other_data(tmp_path: Path):
    for number in range(3):
        write_shard(tmp_path, number)
    known = data_in(tmp_path)
    assert data_in(tmp_path) == known
    shutil.copytree(tmp_path, tmp_path.parent / "copied")
    assert data_in(tmp_path.parent / "copied").fingerprint == known.fingerprint
    (tmp_path / "readme.txt").write_text("no data")
    assert data_in(tmp_path) == known
    write_shard(tmp_path, 3)
    added = data_in(tmp_path)
    assert added.fingerprint != known.fingerprint
    assert "1 added, and shard_00003.parquet is for validation now" in added.change_since(known)
    write_shard(tmp_path, 1, documents=7)
    changed = data_in(tmp_path)
    assert "1 changed. Every run is another one" in changed.change_since(added)
    (tmp_path / "shard_00003.parquet").rename(tmp_path / "shard_00000a.parquet")
    swapped = data_in(tmp_path)
    assert swapped.fingerprint != changed.fingerprint and "1 added, 1 removed" in swapped.change_since(changed)
    assert swapped.change_since(swapped) == ""


def test_what_was_trained_on_is_kept_beside_the_shards(tmp_path: Path):
    for number in range(2):
        write_shard(tmp_path / "data", number)
    data = data_in(tmp_path / "data")
    data.write(tmp_path / "shards")
    assert read_checkout_data(str(tmp_path / "shards")) == data
    assert read_checkout_data("") is None and read_checkout_data(str(tmp_path)) is None


def test_a_corpus_without_a_checkout_stays_what_it_was(tmp_path: Path):
    for number in range(2):
        write_shard(tmp_path, number)
    assert [source.held_out for source in open_corpus(str(tmp_path)).sources] == [False, True]
