"""What people bring: files as polars, pandas, the Hugging Face hub, git and a broken download leave them."""

import gzip
import os
import random
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from laneb.corpus import readers
from laneb.corpus.documents import CorpusError, open_corpus
from laneb.corpus.tokenizer import train_tokenizer

TEXTS = ["first document", "zweites, mit Ümläuten", "third 東京"]
LINES = "".join(f'{{"text": "{text}"}}\n' for text in TEXTS).encode()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 98623412\n"


def documents(path: Path) -> list[str]:
    return list(open_corpus(str(path)).documents())


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int16(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
def test_parquet_text_is_read_in_every_type_that_arrow_writes_it_in(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [*TEXTS, None]
    plain = pa.array([text and text.encode() for text in texts] if "binary" in str(kind) else texts)
    array = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain.cast(kind)
    pq.write_table(pa.table({"text": array}), tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet") == TEXTS


def test_bytes_that_are_no_text_are_refused_with_their_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([b"fine", b"na\xefve"])}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet row 2: bytes that are not UTF-8"):
        documents(tmp_path / "a.parquet")


@pytest.mark.parametrize("window", [27, 28, 31])
def test_zstandard_with_a_long_window_is_read(tmp_path: Path, window: int) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(packed.compress(LINES) + packed.flush())
    assert documents(tmp_path) == TEXTS


@pytest.mark.parametrize("name", ["c4-train.00000-of-01024.json.gz", "dolma-0001.json.zst"])
def test_lines_are_read_under_the_names_that_c4_and_dolma_give_them(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(LINES) if name.endswith(".gz") else zstandard.ZstdCompressor().compress(LINES)
    (tmp_path / name).write_bytes(packed)
    assert documents(tmp_path) == TEXTS


@pytest.mark.parametrize("name", ["shard_00001.parquet", "a.jsonl", "a.jsonl.gz", "a.txt", "a.py"])
def test_what_git_lfs_leaves_is_named_as_such(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    if name.startswith("shard"):
        pq.write_table(pa.table({"text": TEXTS}), tmp_path / "shard_00000.parquet")
    with pytest.raises(CorpusError, match=rf"{name}: a Git LFS pointer.*git lfs pull"):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"cut", b"PAR1"])
def test_a_cut_or_unfetched_shard_far_down_the_folder_is_found_at_once(tmp_path: Path, content: bytes) -> None:
    for number in range(3):
        pq.write_table(pa.table({"text": TEXTS}), tmp_path / f"shard_{number:05d}.parquet")
    shard = tmp_path / "shard_00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-20] if content == b"cut" else content)
    with pytest.raises(CorpusError, match=r"shard_00001\.parquet: not a readable parquet.*Fetch this shard again"):
        open_corpus(str(tmp_path))


def hub_folder(folder: Path, splits: dict[str, list[str]]) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\ndataset_info: x\n---\nAbout the data.\n")
    (folder / "LICENSE.txt").write_text("You may.\n")
    (folder / f"{folder.name}.py").write_text("import datasets\n")
    for name, texts in splits.items():
        pq.write_table(pa.table({"text": texts}), folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def test_of_a_data_sets_folder_documents_are_documents_and_split_names_are_splits(tmp_path: Path) -> None:
    splits = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    corpus = open_corpus(str(hub_folder(tmp_path / "hub", splits)))
    assert [(document.text, document.held_out) for document in corpus.stream()] == [
        ("a", False), ("b", False), ("c", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "held_out"),
    [
        ({"train": ["a"], "test": ["d"]}, ["d"]),
        ({"train": ["a", "b"]}, []),
        ({"train": ["a"], "validation": ["c"], "part": ["e"]}, []),
        ({"test": ["a"], "validation": ["c"]}, []),
    ],
)
def test_split_names_count_only_where_they_tell_all(tmp_path: Path, splits, held_out) -> None:
    stream = list(open_corpus(str(hub_folder(tmp_path / "hub", splits))).stream())
    assert [document.text for document in stream if document.held_out] == held_out
    assert sorted(document.text for document in stream) == sorted(text for texts in splits.values() for text in texts)


def test_a_readme_among_text_files_is_text(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my notes")
    (tmp_path / "more.txt").write_text("more")
    assert sorted(documents(tmp_path)) == ["more", "my notes"]


@pytest.mark.parametrize("name", ["zeros.jsonl.gz", "zeros.jsonl.zst", "zeros.jsonl", "zeros.py", "zeros.parquet"])
def test_a_text_too_long_to_hold_is_refused_by_its_size(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(readers, "LONGEST_DOCUMENT", 1 << 20)
    content = b"0" * (3 << 20)
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": [content.decode()]}), tmp_path / name)
    else:
        packed = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(name[-3:].lstrip("."), bytes)
        (tmp_path / name).write_bytes(packed(content))
    with pytest.raises(CorpusError, match=rf"{name}.*a document has 1 MiB at most"):
        open_corpus(str(tmp_path / name))


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_or_socket_is_refused_and_passed_over_in_a_folder(tmp_path: Path, monkeypatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo("a.jsonl")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("a.jsonl")
    with pytest.raises(CorpusError, match=r"a\.jsonl: a device, socket or pipe, not a file"):
        open_corpus(str(tmp_path / "a.jsonl"))
    (tmp_path / "b.txt").write_text("text")
    assert documents(tmp_path) == ["text"]


def test_a_name_too_long_for_a_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="File name too long"):
        open_corpus(str(tmp_path / ("x" * 5000)))


def test_a_work_directory_within_the_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("text")
    for corpus in (tmp_path, f"{tmp_path}/**/*.txt"):
        with pytest.raises(CorpusError, match=r"lane, where this experiment writes .* lies within the corpus"):
            open_corpus(str(corpus), outputs=[tmp_path / "lane"])
    for outputs in ([tmp_path.parent / "lane"], [tmp_path / ".lane"]):
        assert list(open_corpus(str(tmp_path), outputs=outputs).documents()) == ["text"]


def test_dna_trains_a_tokenizer_at_the_speed_of_prose(tmp_path: Path) -> None:
    draw = random.Random(1)
    dna = "".join(draw.choice("ACGT") for _ in range(300_000))
    prose = list(open_corpus("", max_bytes=300_000).documents())

    def seconds(name: str, texts: list[str]) -> float:
        began = time.process_time()
        train_tokenizer(texts, 1024, max_bytes=10**6, directory=tmp_path / name, dataset_id=name)
        return time.process_time() - began

    # As one word of 300,000 letters it takes minutes where prose takes a second.
    assert seconds("dna", [dna]) < 20 * seconds("prose", prose)


def test_long_words_are_cut_without_losing_a_letter() -> None:
    from laneb.corpus.tokenizer import LONGEST_WORD, _with_short_words

    text = "words " + "A" * (3 * LONGEST_WORD + 7) + " more" + " " * (2 * LONGEST_WORD) + "\nend"
    parts = list(_with_short_words(text))
    assert "".join(parts) == text
    assert max(len(word) for part in parts for word in part.split()) == LONGEST_WORD
    assert list(_with_short_words("a short text")) == ["a short text"]
