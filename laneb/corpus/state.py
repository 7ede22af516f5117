"""Whether the text on disk is what the tokenizer and the token shards were made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.corpus.checkout import find_checkout
from laneb.corpus.checkout_data import HASH_CACHE, open_checkout_corpus
from laneb.corpus.documents import Corpus, open_corpus
from laneb.corpus.shards import shards_fingerprint
from laneb.corpus.tokenizer import tokenizer_fingerprint
from laneb.knobs import DataKnobs, TrainingKnobs
from laneb.places import Locations
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.storage.atomic import StorageError

if TYPE_CHECKING:
    from laneb.storage.store import Store


def corpus_of(store: Store) -> Corpus:
    """The experiment's text; its content hashes are kept beside the shards."""
    experiment = store.read(Experiment)
    at = store.locations
    return text_of(experiment.data, experiment.training, outputs_of(at), at.corpus_dir / HASH_CACHE)


def outputs_of(at: Locations) -> tuple[Path, ...]:
    """Where a lane writes, which may not lie within its corpus."""
    return at.local_dir, at.corpus_dir


def text_of(
    data: DataKnobs, training: TrainingKnobs, outputs: Iterable[Path] = (), hash_cache: Path | None = None
) -> Corpus:
    """The text that settings mean: where a checkout trains, the files that it trains on.

    Args:
        data: which text.
        training: who trains on it.
        outputs: folders that are written to.
        hash_cache: a JSON file that keeps content hashes.

    Raises:
        CorpusError: no text that can be used.
        CheckoutError: no checkout, or no files that it could train on.
    """
    if training.backend == "nanochat":
        checkout = find_checkout(training.nanochat_dir, training.nanochat_python)
        return open_checkout_corpus(
            checkout, data.corpus, text_column=data.text_column, max_bytes=data.max_bytes, hash_cache=hash_cache
        )
    return open_corpus(
        data.corpus,
        text_column=data.text_column,
        max_bytes=data.max_bytes,
        hash_cache=hash_cache,
        outputs=outputs,
    )


def tokenizer_is_unchanged(store: Store) -> bool:
    """Whether the tokenizer is of today's text. A checkout's own tokenizer is not made of our text."""
    try:
        experiment, tokenizer = store.read(Experiment), store.read(TokenizerInfo)
    except StorageError:
        return False
    if experiment.training.backend == "nanochat":
        return True
    name = tokenizer_fingerprint(corpus_of(store), experiment.data.vocab_size, experiment.data.tokenizer_bytes)
    return tokenizer.path.endswith(f"tokenizer_{name}")


def corpus_is_unchanged(store: Store) -> bool:
    """Whether the token shards are of today's text and tokenizer."""
    try:
        shards, tokenizer = store.read(TokenShards), store.read(TokenizerInfo)
        share = store.read(Experiment).data.validation_share
    except StorageError:
        return False
    return shards.corpus_fingerprint == shards_fingerprint(corpus_of(store), tokenizer.tokenizer_id, share)
