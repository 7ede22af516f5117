"""Documents: what each source gives, and what each kind of broken text is told."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.corpus.documents import CorpusError, open_corpus
from laneb.corpus.readers import DOCUMENT_CHARACTERS

TEXTS = ["one small text", "two\nlines, ünïcödé 東京", "three", "four " * 50]


def json_lines(texts: list[str], key: str = "text") -> bytes:
    return b"".join(json.dumps({key: text, "n": 1}).encode() + b"\n" for text in texts)


def write_parquet(path: Path, texts: list[str | None], key: str = "text", rows: int = 2) -> Path:
    pq.write_table(pa.table({"id": list(range(len(texts))), key: texts}), path, row_group_size=rows)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.JSONL.zst", zstandard.ZstdCompressor().compress)],
)
def test_json_lines_give_the_same_documents_however_compressed(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(json_lines(TEXTS)))
    corpus = open_corpus(str(tmp_path / name))
    assert list(corpus.documents()) == TEXTS
    assert (corpus.kind, corpus.dataset_id) == ("files", "a")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_compressed_file_of_several_parts_is_read_to_its_end(tmp_path, name):
    pack = gzip.compress if name.endswith("gz") else zstandard.ZstdCompressor().compress
    (tmp_path / name).write_bytes(pack(json_lines(TEXTS[:2])) + pack(json_lines(TEXTS[2:])))
    assert list(open_corpus(str(tmp_path)).documents()) == TEXTS


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_compressed_file_cut_short_is_an_error_not_a_shorter_corpus(tmp_path, name, keep):
    texts = [os.urandom(400).hex() for _ in range(500)]
    pack = gzip.compress if name.endswith("gz") else zstandard.ZstdCompressor().compress
    packed = pack(json_lines(texts))
    (tmp_path / name).write_bytes(packed[: int(len(packed) * keep)])
    with pytest.raises(CorpusError, match=r"a\.jsonl\.\w+: broken"):
        list(open_corpus(str(tmp_path)).documents())


def test_parquet_gives_its_text_column_without_nulls(tmp_path):
    write_parquet(tmp_path / "a.parquet", ["x", None, *TEXTS], key="body")
    assert list(open_corpus(str(tmp_path), text_column="body").documents()) == ["x", *TEXTS]


def test_a_folder_mixes_kinds_and_passes_over_what_is_hidden_or_no_text(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub/a.txt").write_text("plain")
    (tmp_path / "b.md").write_text("# mark")
    (tmp_path / "c.py").write_text("x = 1\n")
    (tmp_path / "d.bin").write_bytes(b"\xff\xfe")
    (tmp_path / ".git/e.txt").write_text("hidden")
    (tmp_path / "f.jsonl").write_bytes(json_lines(["json"]))
    (tmp_path / "__init__.py").write_text("")
    corpus = open_corpus(str(tmp_path))
    assert sorted(corpus.documents()) == ["# mark", "json", "plain", "x = 1\n"]
    assert list(corpus.files) == sorted(corpus.files)
    assert corpus.dataset_id == tmp_path.name


def test_a_glob_takes_what_it_matches(tmp_path):
    for name in ("a1.txt", "a2.txt", "b1.txt"):
        (tmp_path / name).write_text(name)
    assert sorted(open_corpus(str(tmp_path / "a*.txt")).documents()) == ["a1.txt", "a2.txt"]


def test_a_name_with_glob_characters_is_taken_as_it_stands(tmp_path):
    (tmp_path / "a[1].txt").write_text("bracket")
    assert list(open_corpus(str(tmp_path / "a[1].txt")).documents()) == ["bracket"]


def test_separator_lines_divide_a_text_file(tmp_path):
    (tmp_path / "stories.txt").write_text("once\nupon\n<|endoftext|>\n\n<|endoftext|>\na time\n")
    assert list(open_corpus(str(tmp_path)).documents()) == ["once\nupon\n", "a time\n"]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab \n", max_size=30), max_size=40), st.integers(1, 3000))
def test_cutting_plain_text_loses_nothing(tmp_path_factory, paragraphs, repeat):
    text = "\n\n".join(paragraphs) * repeat
    path = tmp_path_factory.mktemp("cut") / "a.txt"
    path.write_text("start" + text)
    documents = list(open_corpus(str(path)).documents())
    assert "".join("".join(documents).split()) == "".join(("start" + text).split())
    assert all(len(document) <= 2 * DOCUMENT_CHARACTERS for document in documents)


def test_the_embedded_corpus_is_the_running_librarys_source():
    corpus = open_corpus("")
    assert corpus.kind == "embedded"
    assert "site-packages" not in " ".join(str(path) for path in corpus.files)
    sizes = [len(text.encode()) for text in corpus.documents()]
    assert sum(sizes) > 3_000_000
    assert len(sizes) > 150


def test_a_cut_embedded_corpus_is_spread_over_the_library():
    corpus = open_corpus("", max_bytes=1_000_000)
    documents = list(corpus.stream())
    assert sum(len(document.utf8) for document in documents) == 1_000_000
    by_name = [source.name for source in sorted(corpus.sources, key=lambda source: source.name)]
    quarters = {4 * by_name.index(document.name) // len(by_name) for document in documents}
    # Which files are read depends on the library's version; that they come from everywhere in it does not.
    assert len(documents) > 20
    assert quarters == set(range(4))


@settings(deadline=None)
@given(st.integers(1, 120))
def test_max_bytes_cuts_between_characters(tmp_path_factory, limit):
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    path.write_bytes(json_lines(["äöü", "東京東京", "🎉🎉🎉", "plain text " * 9]))
    whole = list(open_corpus(str(path)).documents())
    cut = [document.text for document in open_corpus(str(path)).stream()]
    assert cut == whole
    try:
        part = list(open_corpus(str(path), max_bytes=limit).documents())
    except CorpusError as error:
        assert limit < 2, error
        return
    assert "".join(whole).startswith("".join(part))
    assert limit - 3 <= len("".join(part).encode()) <= limit


def test_nanochats_last_shard_is_held_out_and_keeps_a_part_of_a_cut(tmp_path):
    for index in range(3):
        write_parquet(tmp_path / f"shard_{index:05d}.parquet", [f"{index} " * 100] * 4)
    corpus = open_corpus(str(tmp_path))
    assert corpus.kind == "nanochat"
    order = [(document.text[0], document.held_out) for document in corpus.stream()]
    assert sorted(order[:8]) == [("0", False)] * 4 + [("1", False)] * 4
    assert order[8:] == [("2", True)] * 4
    cut = list(open_corpus(str(tmp_path), max_bytes=1000).stream())
    assert sum(len(document.utf8) for document in cut if document.held_out) == 50
    assert sum(len(document.utf8) for document in cut) == 1000


def test_reading_goes_on_from_any_place_with_the_next_document(tmp_path):
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\n<|endoftext|>\n \n<|endoftext|>\nthree")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n" + json_lines(TEXTS) + b"\n\n"))
    write_parquet(tmp_path / "c.parquet", ["p", None, "q", "r", None, "s"])
    (tmp_path / "d.py").write_text("x = 1")
    for max_bytes in (-1, 120):
        corpus = open_corpus(str(tmp_path), max_bytes=max_bytes)
        documents = list(corpus.stream())
        for index, document in enumerate(documents):
            assert list(corpus.stream(document.after)) == documents[index + 1 :]


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x \\ud83d y"}\n')
    assert list(open_corpus(str(tmp_path)).documents()) == ["x \ufffd y"]


BROKEN = {
    "missing.txt": (None, r"missing\.txt: no such file or folder .*LANE_B_CORPUS.* embedded"),
    "none-*.txt": (None, r"none-\*\.txt: no text to use, nothing there; allowed are .*\.parquet"),
    "empty.txt": (b"", r"empty\.txt: is empty"),
    "blank.txt": (b" \n\n", r"blank\.txt: holds no text but blanks"),
    "image.png": (b"x", r"image\.png: not a kind of file .* allowed are .*\.jsonl\.zst"),
    "latin.txt": (b"fine\nna\xefve\n", r"latin\.txt:2: not UTF-8"),
    "latin.py": (b"x = 'na\xefve'\n", r"latin\.py: not UTF-8"),
    "bad.jsonl": (b'{"text": "x"\n', r"bad\.jsonl:1: not JSON \(.* at column \d+\)"),
    "utf.jsonl": (b'\n{"text": "na\xefve"}\n', r"utf\.jsonl:2: not UTF-8"),
    "list.jsonl": (b"[1]\n", r"list\.jsonl:1: a JSON list where an object with the key 'text' belongs"),
    "key.jsonl": (
        b'{"body": "x", "id": 1}\n',
        r"key\.jsonl:1: no key 'text'; there are 'body', 'id'.*LANE_B_TEXT_COLUMN",
    ),
    "type.jsonl": (b'{"text": 7}\n', r"type\.jsonl:1: 'text' holds int, not text"),
    "broken.parquet": (b"PAR1 nothing", r"broken\.parquet: not a readable parquet"),
    "broken.jsonl.gz": (b"nothing", r"broken\.jsonl\.gz: "),
    "broken.jsonl.zst": (b"nothing", r"broken\.jsonl\.zst: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_is_named_with_its_place_and_what_is_allowed(tmp_path, name):
    content, message = BROKEN[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        open_corpus(str(tmp_path / name))


def test_a_bad_line_far_into_a_file_is_named_when_it_is_reached(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json_lines(TEXTS) + b"{oops}\n")
    with pytest.raises(CorpusError, match=r"a\.jsonl:5: not JSON"):
        list(open_corpus(str(tmp_path)).documents())


def test_a_parquet_without_the_column_lists_its_columns(tmp_path):
    write_parquet(tmp_path / "a.parquet", ["x"], key="body")
    with pytest.raises(CorpusError, match=r"a\.parquet: no column 'text'; there are 'id', 'body'"):
        open_corpus(str(tmp_path))
    with pytest.raises(CorpusError, match=r"column 'id' holds int64, not text"):
        open_corpus(str(tmp_path), text_column="id")


def test_a_folder_without_text_says_what_it_saw(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(CorpusError, match=r"no text to use, only \.png there"):
        open_corpus(str(tmp_path))


def test_a_single_nanochat_shard_is_refused(tmp_path):
    write_parquet(tmp_path / "shard_00000.parquet", TEXTS)
    with pytest.raises(CorpusError, match="two are needed"):
        open_corpus(str(tmp_path))


def test_reading_nothing_is_refused():
    with pytest.raises(CorpusError, match="LANE_B_CORPUS_MAX_BYTES=0"):
        open_corpus("", max_bytes=0)


def valid_files(folder: Path) -> dict[str, bytes]:
    lines = json_lines(TEXTS)
    return {
        ".txt": "\n".join(TEXTS).encode(),
        ".py": b"# coding: utf-8\nx = 1\n",
        ".jsonl": lines,
        ".jsonl.gz": gzip.compress(lines),
        ".jsonl.zst": zstandard.ZstdCompressor().compress(lines),
        ".parquet": write_parquet(folder / "valid.parquet", list(TEXTS)).read_bytes(),
    }


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_bytes_give_documents_or_an_error_that_names_the_file(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    suffix, content = data.draw(st.sampled_from(sorted(valid_files(folder).items())))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 20, len(content))))
    path = folder / f"mutated{suffix}"
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=20)) + content[end:])
    try:
        documents = list(open_corpus(str(path)).documents())
    except CorpusError as error:
        assert "mutated" in str(error)
    else:
        assert all(document.strip() for document in documents)
