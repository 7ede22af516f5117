"""The tokenizer: every text comes back, the same text gives the same tokenizer, and bytes per token add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.corpus.documents import CorpusError, open_corpus
from laneb.corpus.tokenizer import (
    BOS,
    Tokenizer,
    load_tokenizer,
    split_text,
    stored_tokenizer,
    token_dtype,
    tokenizer_fingerprint,
    train_tokenizer,
)
from laneb.records.corpus import TokenizerInfo

VOCAB_SIZE = 512


def train(directory: Path, texts: list[str], vocab_size: int = VOCAB_SIZE, max_bytes: int = 10**6) -> TokenizerInfo:
    return train_tokenizer(texts, vocab_size, max_bytes=max_bytes, directory=directory, dataset_id="words")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(open_corpus("", max_bytes=300_000).documents())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, texts) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    train(directory, texts)
    return load_tokenizer(directory)


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_every_text_comes_back_and_its_bytes_are_counted(tokenizer, texts):
    encoded = tokenizer.encode_batch(texts)
    assert [tokenizer.decode(ids) for ids in encoded] == texts
    assert [int(tokenizer.token_bytes[ids].sum()) for ids in encoded] == [len(text.encode()) for text in texts]
    assert all(ids.dtype == np.uint16 for ids in encoded)


def test_no_text_can_forge_the_beginning_of_a_document(tokenizer):
    (ids,) = tokenizer.encode_batch([f"a{BOS}b"])
    assert tokenizer.bos_id not in ids
    assert tokenizer.decode(ids) == f"a{BOS}b"
    assert tokenizer.token_bytes[tokenizer.bos_id] == 0


def test_ids_cut_within_a_character_decode_to_a_replacement(tokenizer):
    (ids,) = tokenizer.encode_batch(["\U0001f389"])
    assert len(ids) > 1
    assert tokenizer.decode(ids[:1]) == "\ufffd"


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab'1 .\n\t\r\u00a0é", max_size=12), max_size=30))
def test_cutting_a_long_text_changes_no_token(tokenizer, lines):
    # A line that begins with a letter is always near, so the forced cut never comes.
    text = "".join(line + "\nx" for line in lines)
    pieces = list(split_text(text, characters=20))
    assert "".join(pieces) == text
    whole, *parts = tokenizer.encode_batch([text, *pieces])
    assert np.array_equal(np.concatenate([np.array([], np.uint16), *parts]), whole)


def test_a_long_text_without_newlines_is_cut_anyway():
    pieces = list(split_text("a" * 1000, characters=100))
    assert "".join(pieces) == "a" * 1000
    assert max(map(len, pieces)) <= 200


def test_the_same_text_gives_the_same_tokenizer(tmp_path, texts):
    first, second = train(tmp_path / "a", texts), train(tmp_path / "b", texts)
    assert first.tokenizer_id == second.tokenizer_id
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()
    assert train(tmp_path / "c", texts[1:]).tokenizer_id != first.tokenizer_id


def test_the_record_says_what_is_on_disk(tmp_path, texts):
    seen: list[tuple[int, int, str]] = []
    info = train_tokenizer(
        texts, VOCAB_SIZE, max_bytes=200_000, directory=tmp_path, dataset_id="x", progress=lambda *a: seen.append(a)
    )
    tokenizer = load_tokenizer(info.path)
    assert stored_tokenizer(tmp_path) == info
    assert (info.vocab_size, info.bos_id) == (tokenizer.vocab_size, tokenizer.bos_id) == (VOCAB_SIZE, tokenizer.bos_id)
    assert info.trained_bytes == 200_000
    assert 1.5 < info.bytes_per_token < 6
    assert np.array_equal(np.load(tmp_path / "token_bytes.npy"), tokenizer.token_bytes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["info.json", "token_bytes.npy", "tokenizer.json"]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_a_vocabulary_larger_than_the_text_allows_says_how_many_tokens_it_allows(tmp_path):
    with pytest.raises(
        CorpusError, match=r"LANE_B_VOCAB_SIZE=2048: .* larger than the text allows; 120 bytes"
    ) as error:
        train(tmp_path, ["banana bandana "] * 8, vocab_size=2048)
    allowed = int(str(error.value).split("Set LANE_B_VOCAB_SIZE to ")[1].split()[0])
    assert train(tmp_path, ["banana bandana "] * 8, vocab_size=allowed).vocab_size == allowed


def test_no_text_and_no_room_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="no text to train a tokenizer on"):
        train(tmp_path, [])
    with pytest.raises(CorpusError, match="LANE_B_VOCAB_SIZE=256: at least 257"):
        train(tmp_path, ["x"], vocab_size=256)
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="can't write the tokenizer"):
        train(tmp_path / "file", ["ab ab"], vocab_size=257)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    assert stored_tokenizer(tmp_path) is None
    with pytest.raises(CorpusError, match=r"tokenizer\.json: no tokenizer there"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CorpusError, match="not a tokenizer of ours"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_with_two_ids_swapped_is_refused(tmp_path):
    train(tmp_path, ["banana bandana "] * 8, vocab_size=260)
    file = tmp_path / "tokenizer.json"
    whole = file.read_text()
    file.write_text(whole.replace('"a":', '"?":').replace('"b":', '"a":').replace('"?":', '"b":'))
    assert file.stat().st_size == len(whole.encode())
    assert stored_tokenizer(tmp_path) is None
    with pytest.raises(CorpusError, match=r"tokenizer\.json is damaged.*`laneb run` makes it again"):
        load_tokenizer(tmp_path)


def test_the_fingerprint_follows_the_text_and_the_settings(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    corpus = open_corpus(str(tmp_path))
    base = tokenizer_fingerprint(corpus, 300, 1000)
    assert base == tokenizer_fingerprint(open_corpus(str(tmp_path)), 300, 1000)
    (tmp_path / "b.txt").write_text("more")
    others = {
        tokenizer_fingerprint(corpus, 301, 1000),
        tokenizer_fingerprint(corpus, 300, 1001),
        tokenizer_fingerprint(open_corpus(str(tmp_path)), 300, 1000),
    }
    assert len(others | {base}) == 4


def test_ids_take_two_bytes_as_long_as_they_fit():
    assert [token_dtype(size).itemsize for size in (2**16, 2**16 + 1)] == [2, 4]
