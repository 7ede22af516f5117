"""Whether the text on disk is what the tokenizer and the token shards were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneb.corpus.documents import Corpus, open_corpus
from laneb.corpus.shards import shards_fingerprint
from laneb.corpus.tokenizer import tokenizer_fingerprint
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.storage.atomic import StorageError

if TYPE_CHECKING:
    from laneb.storage.store import Store


def corpus_of(store: Store) -> Corpus:
    """The experiment's text; its content hashes are kept beside the shards."""
    data = store.read(Experiment).data
    cache = store.locations.corpus_dir / "content_hashes.json"
    return open_corpus(data.corpus, text_column=data.text_column, max_bytes=data.max_bytes, hash_cache=cache)


def tokenizer_is_unchanged(store: Store) -> bool:
    """Whether the tokenizer is of today's text. A checkout's own tokenizer is not made of our text."""
    experiment = store.read(Experiment)
    if experiment.training.backend == "nanochat":
        return True
    name = tokenizer_fingerprint(corpus_of(store), experiment.data.vocab_size, experiment.data.tokenizer_bytes)
    try:
        return store.read(TokenizerInfo).path.endswith(f"tokenizer_{name}")
    except StorageError:
        return False


def corpus_is_unchanged(store: Store) -> bool:
    """Whether the token shards are of today's text and tokenizer."""
    share = store.read(Experiment).data.validation_share
    try:
        shards, tokenizer = store.read(TokenShards), store.read(TokenizerInfo)
    except StorageError:
        return False
    return shards.corpus_fingerprint == shards_fingerprint(corpus_of(store), tokenizer.tokenizer_id, share)
