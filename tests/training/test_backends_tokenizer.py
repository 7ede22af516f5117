import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_in_checkout import write_checkout

from laneb.corpus.checkout import CheckoutError, find_checkout
from laneb.corpus.checkout_tokenizer import CheckoutTokenizer, load_checkout_tokenizer, record_checkout_tokenizer


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkout(tmp_path_factory.mktemp("nanochat"))


@pytest.fixture(scope="module")
def tokenizer(root: Path):
    with CheckoutTokenizer(find_checkout(str(root), sys.executable)) as opened:
        yield opened


def test_what_the_tokenizer_is_comes_from_the_checkout_itself(root: Path, tokenizer):
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.base_dir) == (300, 299, root / "base")
    assert tokenizer.token_bytes.dtype == np.int32
    assert tokenizer.token_bytes.tolist() == [1] * 256 + [0] * 44


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=50), max_size=6))
def test_documents_come_back_as_the_ids_that_the_checkout_gives(tokenizer, texts):
    arrays = tokenizer.encode_batch(texts)
    assert [array.tolist() for array in arrays] == [list(text.encode("utf-8", "replace")) for text in texts]
    assert all(array.dtype == np.uint16 for array in arrays)


def test_many_and_long_documents_pass_through(tokenizer):
    texts = ["a" * 3_000_000, "", *(f"document {number}" for number in range(1000))]
    assert [len(array) for array in tokenizer.encode_batch(texts)] == [len(text) for text in texts]


def test_a_tokenizer_is_recorded_and_opened_again_until_it_is_another(tmp_path: Path):
    root = write_checkout(tmp_path / "nanochat")
    checkout = find_checkout(str(root), sys.executable)
    info = record_checkout_tokenizer(checkout, tmp_path / "t", dataset_id="mine", sample=["grüße", "text"])
    assert (info.vocab_size, info.bos_id, info.dataset_id, info.path) == (300, 299, "mine", str(tmp_path / "t"))
    assert info.bytes_per_token == 1.0
    assert np.load(tmp_path / "t" / "token_bytes.npy").tolist() == [1] * 256 + [0] * 44
    with load_checkout_tokenizer(tmp_path / "t") as opened:
        assert opened.tokenizer_id == info.tokenizer_id
        assert opened.encode_batch(["ab"])[0].tolist() == [97, 98]
    (root / "base" / "tokenizer" / "tokenizer.pkl").write_text("other merges")
    with pytest.raises(CheckoutError, match="its tokenizer was trained again since"):
        load_checkout_tokenizer(tmp_path / "t")
    with pytest.raises(CheckoutError, match="no checkout's tokenizer there"):
        load_checkout_tokenizer(tmp_path / "nowhere")
    with pytest.raises(CheckoutError, match="no text to measure"):
        record_checkout_tokenizer(checkout, tmp_path / "t", dataset_id="mine", sample=[""])


def test_a_checkout_without_a_tokenizer_is_named_with_the_reason(tmp_path: Path):
    root = write_checkout(tmp_path)
    (root / "base" / "tokenizer" / "tokenizer.pkl").unlink()
    with pytest.raises(CheckoutError, match=r"its tokenizer can't be read; train it there first .*No such file"):
        CheckoutTokenizer(find_checkout(str(root), sys.executable))


def test_a_document_that_the_tokenizer_fails_on_is_one_error(root: Path):
    with (
        CheckoutTokenizer(find_checkout(str(root), sys.executable)) as tokenizer,
        pytest.raises(CheckoutError, match=r"failed on a document: .*RuntimeError: no such document"),
    ):
        tokenizer.encode_batch(["fine", "forbidden"])
