"""The text as tokens on disk."""

import itertools
from pathlib import Path

import dagster as dg

from laneb.corpus.checkout import CheckoutError, find_checkout
from laneb.corpus.checkout_data import CheckoutData, read_checkout_data
from laneb.corpus.checkout_tokenizer import record_checkout_tokenizer
from laneb.corpus.documents import Corpus
from laneb.corpus.shards import build_shards, shards_fingerprint
from laneb.corpus.state import corpus_of
from laneb.corpus.tokenizer import stored_tokenizer, tokenizer_fingerprint, train_tokenizer
from laneb.knobs import TrainingKnobs
from laneb.records.base import canonical_hash
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.experiment import Experiment
from laneb.settings import Settings
from laneb.storage.store import Store
from laneb.training.checkout_knobs import UNSET
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.resources import Stored
from laneb_assets.views.metadata import materialized
from laneb_assets.views.progress import progress_of

SAMPLED_DOCUMENTS = 200
"""On which a checkout's tokenizer is measured."""


def corpus_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The tokenizer and the token shards. Of a checkout, both are those that the training settings name."""
    sections = ["data", "training"] if settings.training.backend == "nanochat" else ["data"]
    return [
        lane_asset(settings, tokenizer, group="corpus", sections=sections, kinds=["tokenizers"]),
        lane_asset(settings, token_shards, group="corpus", deps=["tokenizer"], sections=sections, kinds=["numpy"]),
    ]


def tokenizer(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """A byte-pair tokenizer trained on the corpus; with the nanochat backend, that of the checkout."""
    corpus, data = corpus_of(store), store.experiment().data
    training = store.experiment().training
    if training.backend == "nanochat":
        info = _checkout_tokenizer(store, training, corpus, data.dataset_id or corpus.dataset_id)
        return materialized(info, store.write(info), vocab_size=info.vocab_size, bytes_per_token=info.bytes_per_token)
    name = tokenizer_fingerprint(corpus, data.vocab_size, data.tokenizer_bytes)
    directory = store.locations.corpus_dir / f"tokenizer_{name}"
    dataset_id = data.dataset_id or corpus.dataset_id
    info = stored_tokenizer(directory) or train_tokenizer(
        corpus.documents(),
        data.vocab_size,
        max_bytes=data.tokenizer_bytes,
        directory=directory,
        dataset_id=dataset_id,
        progress=progress_of(context),
    )
    info = info.model_copy(update={"dataset_id": dataset_id})
    path = store.write(info)
    return materialized(info, path, vocab_size=info.vocab_size, bytes_per_token=info.bytes_per_token)


def _checkout_tokenizer(store: Store, training: TrainingKnobs, corpus: Corpus, dataset_id: str) -> TokenizerInfo:
    checkout = find_checkout(training.nanochat_dir, training.nanochat_python)
    name = canonical_hash([str(checkout.directory), str(checkout.python)])
    sample = list(itertools.islice(corpus.documents(), SAMPLED_DOCUMENTS))
    directory = store.locations.corpus_dir / f"checkout_tokenizer_{name}"
    info = record_checkout_tokenizer(checkout, directory, dataset_id=dataset_id, sample=sample)
    experiment = store.read(Experiment)
    wanted = experiment.data.vocab_size
    if info.vocab_size != wanted and experiment.origins.get("data.vocab_size") not in UNSET:
        raise CheckoutError(
            f"LANE_B_VOCAB_SIZE={wanted}: nanochat takes its own tokenizer, and that of {checkout.directory} has "
            f"{info.vocab_size} tokens. Set LANE_B_VOCAB_SIZE={info.vocab_size}"
        )
    return info


def token_shards(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """The corpus as train and validation tokens, memory-mapped, split by document hash."""
    corpus, data = corpus_of(store), store.experiment().data
    info = store.read(TokenizerInfo)
    name = shards_fingerprint(corpus, info.tokenizer_id, data.validation_share)
    shards = build_shards(
        corpus,
        info,
        store.locations.corpus_dir / f"shards_{name}",
        validation_share=data.validation_share,
        progress=progress_of(context),
    )
    if store.read(Experiment).training.backend == "nanochat":
        before = read_checkout_data(store.read(TokenShards).path) if store.has(TokenShards) else None
        CheckoutData.in_files(corpus.files, corpus.hash_cache).write(Path(shards.path), before)
    path = store.write(shards)
    return materialized(
        shards,
        path,
        train_tokens=shards.train_tokens,
        val_tokens=shards.val_tokens,
        train_documents=shards.train_documents,
        val_documents=shards.val_documents,
    )
