"""Token shards: they hold the corpus, split by document, and no kill, copy or change leaves wrong ones behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.corpus.documents import Corpus, CorpusError, open_corpus
from laneb.corpus.shards import Shards, Split, build_shards, open_shards, shards_fingerprint, stored_shards
from laneb.corpus.tokenizer import load_tokenizer, train_tokenizer
from laneb.records.corpus import TokenizerInfo, TokenShards


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> TokenizerInfo:
    documents = open_corpus("", max_bytes=300_000).documents()
    directory = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(documents, 512, max_bytes=300_000, directory=directory, dataset_id="stdlib")


def write_texts(folder: Path, texts: list[str]) -> Corpus:
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return open_corpus(str(folder))


def build(corpus: Corpus, tokenizer: TokenizerInfo, directory: Path, share: float = 0.2, **options: Any) -> Shards:
    build_shards(corpus, tokenizer, directory, validation_share=share, **options)
    return open_shards(directory)


def texts_of(split: Split, tokenizer: TokenizerInfo) -> list[str]:
    """The documents of a split, cut at its document starts."""
    model = load_tokenizer(tokenizer.path)
    documents = np.split(split.tokens, split.document_starts[1:])
    assert all(document[0] == model.bos_id and model.bos_id not in document[1:] for document in documents)
    return [model.decode(document[1:]) for document in documents]


def content(directory: Path) -> dict[str, bytes]:
    """All files' bytes, without when and where they were made."""
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "meta.json"}
    meta = json.loads((directory / "meta.json").read_text())
    return {**files, "meta": repr({k: v for k, v in meta.items() if k not in {"timestamp_utc", "checksum"}}).encode()}


TEXTS = [f"document {index}: {'ab ' * (index % 7)}ünïcödé\n" for index in range(60)]


def test_the_shards_hold_every_document_once_in_reading_order(tmp_path, tokenizer):
    shards = build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")
    train, val = texts_of(shards.train, tokenizer), texts_of(shards.val, tokenizer)
    assert sorted(train + val) == sorted(TEXTS)
    assert [text for text in TEXTS if text in set(train)] == train
    assert 3 <= len(val) <= 24


def test_the_record_counts_what_is_there(tmp_path, tokenizer):
    shards = build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")
    info = shards.info
    assert (info.train_tokens, info.val_tokens) == (len(shards.train.tokens), len(shards.val.tokens))
    assert (info.train_documents, info.val_documents) == (
        len(shards.train.document_starts),
        len(shards.val.document_starts),
    )
    assert info.train_bytes + info.val_bytes == sum(len(text.encode()) for text in TEXTS)
    assert info.train_bytes == shards.token_bytes[shards.train.tokens].sum()
    assert shards.train.document_starts.dtype == np.int64
    assert not shards.train.tokens.flags.writeable
    meta = (tmp_path / "s/meta.json").read_text()
    assert json.loads(meta)["dtype"] == "uint16"
    assert TokenShards.from_json(meta) == info.model_copy(update={"path": "."})


@settings(deadline=None, max_examples=10)
@given(texts=st.lists(st.text(min_size=1, max_size=9).filter(str.strip), min_size=2, max_size=8, unique=True))
def test_any_two_documents_give_both_splits(tmp_path_factory, tokenizer, texts):
    folder = tmp_path_factory.mktemp("few")
    for share in (0.001, 0.499):
        shards = build(write_texts(folder / "c", texts), tokenizer, folder / "s", share)
        train, val = texts_of(shards.train, tokenizer), texts_of(shards.val, tokenizer)
        assert train and val
        assert sorted(train + val) == sorted(texts)


def test_equal_documents_are_never_on_both_sides(tmp_path, tokenizer):
    shards = build(write_texts(tmp_path / "c", TEXTS * 3), tokenizer, tmp_path / "s")
    assert not set(texts_of(shards.train, tokenizer)) & set(texts_of(shards.val, tokenizer))


def test_a_documents_side_does_not_depend_on_the_others(tmp_path, tokenizer):
    some = build(write_texts(tmp_path / "c", TEXTS[:40]), tokenizer, tmp_path / "s")
    more = build(write_texts(tmp_path / "d", TEXTS), tokenizer, tmp_path / "t")
    assert set(texts_of(some.val, tokenizer)) <= set(texts_of(more.val, tokenizer))


@pytest.mark.parametrize("texts", [["only one"], ["twice the same"] * 2])
def test_text_that_cannot_be_split_is_refused(tmp_path, tokenizer, texts):
    with pytest.raises(CorpusError, match="at least two different ones are needed"):
        build(write_texts(tmp_path / "c", texts), tokenizer, tmp_path / "s")


def test_nanochats_last_shard_is_the_validation_split(tmp_path, tokenizer):
    (tmp_path / "base_data").mkdir()
    for index in range(3):
        texts = [f"shard {index} row {row}" for row in range(5)]
        pq.write_table(pa.table({"text": texts}), tmp_path / f"base_data/shard_{index:05d}.parquet")
    shards = build(open_corpus(str(tmp_path / "base_data")), tokenizer, tmp_path / "s")
    assert {text[:7] for text in texts_of(shards.val, tokenizer)} == {"shard 2"}
    assert {text[:7] for text in texts_of(shards.train, tokenizer)} == {"shard 0", "shard 1"}


def test_shards_are_built_once_and_again_only_for_other_text(tmp_path, tokenizer):
    corpus = write_texts(tmp_path / "c", TEXTS)
    first = build(corpus, tokenizer, tmp_path / "s").info
    seen: list[str] = []
    again = build_shards(corpus, tokenizer, tmp_path / "s", validation_share=0.2, progress=lambda *a: seen.append(a[2]))
    assert again == first
    assert not seen
    named = tokenizer.model_copy(update={"dataset_id": "another name"})
    assert build_shards(corpus, named, tmp_path / "s", validation_share=0.2).dataset_id == "another name"
    assert build(write_texts(tmp_path / "c", [*TEXTS, "new"]), tokenizer, tmp_path / "s").info != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "s", "s.lock"]


def test_the_fingerprint_follows_text_names_tokenizer_and_split_but_not_place_or_time(tmp_path):
    def fingerprint(corpus: Corpus, tokenizer_id: str = "t", share: float = 0.1) -> str:
        return shards_fingerprint(corpus, tokenizer_id, share)

    base = fingerprint(write_texts(tmp_path / "c", TEXTS))
    os.utime(tmp_path / "c/a.jsonl", (1, 1))
    assert fingerprint(open_corpus(str(tmp_path / "c"))) == base
    assert fingerprint(write_texts(tmp_path / "elsewhere", TEXTS)) == base
    swapped = write_texts(tmp_path / "c", [TEXTS[0].replace("0", "1"), *TEXTS[1:]])
    assert swapped.total_bytes == open_corpus(str(tmp_path / "elsewhere")).total_bytes
    same = open_corpus(str(tmp_path / "elsewhere"))
    renamed = write_texts(tmp_path / "d", TEXTS)
    (tmp_path / "d/a.jsonl").rename(tmp_path / "d/b.jsonl")
    renamed = open_corpus(str(tmp_path / "d"))
    others = [
        fingerprint(swapped),
        fingerprint(renamed),
        fingerprint(same, "u"),
        fingerprint(same, "t", 0.2),
        fingerprint(open_corpus(str(tmp_path / "elsewhere"), max_bytes=100)),
    ]
    assert len({base, *others}) == 6


def test_content_hashes_are_kept_and_never_believed_over_a_changed_file(tmp_path):
    def fingerprint() -> str:
        return open_corpus(str(tmp_path / "c"), hash_cache=tmp_path / "hashes.json").fingerprint

    write_texts(tmp_path / "c", TEXTS)
    os.utime(tmp_path / "c/a.jsonl", (1, 1))
    first = fingerprint()
    (tmp_path / "c/a.jsonl").write_text((tmp_path / "c/a.jsonl").read_text().replace("document 7", "document 8"))
    os.utime(tmp_path / "c/a.jsonl", (1, 1))
    assert fingerprint() != first
    (tmp_path / "hashes.json").write_text("broken")
    assert fingerprint() != first


BUILD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from laneb.corpus.documents import open_corpus
from laneb.corpus.shards import build_shards
from laneb.corpus.tokenizer import stored_tokenizer

left = int(sys.argv[3])
def progress(done, total, note):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

tokenizer = stored_tokenizer(Path(sys.argv[1]))
corpus = open_corpus("", max_bytes=600_000)
build_shards(corpus, tokenizer, Path(sys.argv[2]), validation_share=0.1, progress=progress, journal_bytes=100_000)
"""


def test_a_build_killed_again_and_again_ends_in_the_same_bytes_as_one_never_killed(tmp_path, tokenizer):
    corpus = open_corpus("", max_bytes=600_000)
    build(corpus, tokenizer, tmp_path / "whole", 0.1)
    for batches in (2, 1):
        command = [sys.executable, "-c", BUILD_AND_DIE, tokenizer.path, str(tmp_path / "killed"), str(batches)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
    done: list[int] = []
    build(corpus, tokenizer, tmp_path / "killed", 0.1, progress=lambda *a: done.append(a[0]))
    assert done[0] > 300_000, "the last build started from scratch"
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not (tmp_path / "killed.partial").exists()


BUILD_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from laneb.corpus.documents import open_corpus
from laneb.corpus.shards import build_shards
from laneb.corpus.tokenizer import stored_tokenizer

tokenizer = stored_tokenizer(Path(sys.argv[1]))
corpus = open_corpus("", max_bytes=600_000)
corpus.fingerprint
resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))
try:
    build_shards(corpus, tokenizer, Path(sys.argv[2]), validation_share=0.1, journal_bytes=50_000)
except ValueError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_named_and_the_build_goes_on_when_there_is_room(tmp_path, tokenizer):
    command = [sys.executable, "-c", BUILD_ON_A_FULL_DISK, tokenizer.path, str(tmp_path / "s")]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "can't write token shards (File too large)" in said.stdout
    assert not said.stderr
    corpus = open_corpus("", max_bytes=600_000)
    done: list[int] = []
    build(corpus, tokenizer, tmp_path / "s", 0.1, progress=lambda *a: done.append(a[0]))
    assert done[0] > 100_000, "what was done is lost"
    build(corpus, tokenizer, tmp_path / "whole", 0.1)
    assert content(tmp_path / "s") == content(tmp_path / "whole")


class InterruptedBuildError(Exception):
    """Stops a build from its progress callback."""


def interrupt(corpus: Corpus, tokenizer: TokenizerInfo, directory: Path) -> None:
    calls: list[int] = []

    def progress(done: int, total: int, note: str) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise InterruptedBuildError

    with pytest.raises(InterruptedBuildError):
        build(corpus, tokenizer, directory, progress=progress, journal_bytes=40_000)


@pytest.mark.parametrize(
    "damage",
    [
        lambda partial: (partial / "journal.jsonl").open("ab").write(b"[[1, 2, 3], [4,"),
        lambda partial: (partial / "journal.jsonl").write_bytes(b"\xff\xfe nothing\n"),
        lambda partial: (partial / "journal.jsonl").write_bytes(b""),
        lambda partial: (partial / "train.bin").write_bytes(b""),
        lambda partial: (partial / "val_starts").unlink(),
        lambda partial: (partial / "train.bin").open("ab").write(b"x" * 999),
    ],
)
def test_a_damaged_unfinished_build_is_mended_or_begun_anew(tmp_path, tokenizer, damage):
    corpus = open_corpus("", max_bytes=200_000)
    interrupt(corpus, tokenizer, tmp_path / "s")
    damage(tmp_path / "s.partial")
    build(corpus, tokenizer, tmp_path / "s")
    build(corpus, tokenizer, tmp_path / "whole")
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_an_unfinished_build_of_other_text_is_not_gone_on_with(tmp_path, tokenizer):
    interrupt(open_corpus("", max_bytes=200_000), tokenizer, tmp_path / "s")
    shards = build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")
    assert shards.info.train_documents + shards.info.val_documents == len(TEXTS)


def test_bad_text_ends_the_build_and_a_mended_corpus_builds(tmp_path, tokenizer):
    corpus = write_texts(tmp_path / "c", TEXTS)
    with (tmp_path / "c/a.jsonl").open("a") as file:
        file.write("{oops\n")
    with pytest.raises(CorpusError, match=r"a\.jsonl:61: not JSON"):
        build(corpus, tokenizer, tmp_path / "s")
    build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")


def test_two_builders_at_once_build_one(tmp_path, tokenizer):
    corpus = open_corpus("", max_bytes=200_000)
    corpus.fingerprint  # noqa: B018 - hashed before the threads race
    results: list[TokenShards] = []

    def work() -> None:
        results.append(build_shards(corpus, tokenizer, tmp_path / "s", validation_share=0.1))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert results[0] == results[1] == results[2]


def test_missing_or_broken_shards_are_named(tmp_path, tokenizer):
    with pytest.raises(CorpusError, match=r"no token shards there"):
        open_shards(tmp_path / "s")
    build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")
    with (tmp_path / "s/train.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        CorpusError, match=r"train\.bin has .* bytes where .* were written\). `laneb run` makes them again"
    ):
        open_shards(tmp_path / "s")
    build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "s")
    (tmp_path / "s/meta.json").write_text("{")
    with pytest.raises(CorpusError, match="broken token shards"):
        open_shards(tmp_path / "s")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train.bin", lambda data: b"\0" * len(data)),
        ("val.bin", lambda data: bytes(byte ^ 1 for byte in data)),
        ("train_starts.npy", lambda data: data[:-8] + b"\1" * 8),
        ("token_bytes.npy", lambda data: data[:128] + (2 * np.frombuffer(data[128:], "<i4")).tobytes()),
        ("meta.json", lambda data: data.replace(b'"train_bytes": ', b'"train_bytes": 1')),
    ],
)
def test_shards_that_rotted_are_refused_and_built_again_to_the_same_bytes(tmp_path, tokenizer, name, damage):
    corpus = write_texts(tmp_path / "c", TEXTS)
    build(corpus, tokenizer, tmp_path / "s")
    whole = content(tmp_path / "s")
    path = tmp_path / "s" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorpusError, match=r"does not match its checksum.*`laneb run` makes them again"):
        open_shards(tmp_path / "s")
    assert stored_shards(tmp_path / "s", shards_fingerprint(corpus, tokenizer.tokenizer_id, 0.2)) is None
    build(corpus, tokenizer, tmp_path / "s")
    assert content(tmp_path / "s") == whole


def test_a_stretch_that_rotted_while_a_build_was_interrupted_is_tokenized_again(tmp_path, tokenizer):
    corpus = open_corpus("", max_bytes=300_000)
    build(corpus, tokenizer, tmp_path / "whole")
    interrupt(corpus, tokenizer, tmp_path / "s")
    partial = tmp_path / "s.partial" / "train.bin"
    data = bytearray(partial.read_bytes())
    data[100] ^= 4
    partial.write_bytes(data)
    build(corpus, tokenizer, tmp_path / "s")
    assert content(tmp_path / "s") == content(tmp_path / "whole")


def test_a_place_that_cannot_be_written_is_named(tmp_path, tokenizer):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="can't write token shards"):
        build(write_texts(tmp_path / "c", TEXTS), tokenizer, tmp_path / "file/s")
