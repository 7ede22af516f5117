"""What the corpus itself says about how fast loss falls with data."""

import dagster as dg

from laneb.corpus.shards import open_shards
from laneb.records.corpus import TokenShards
from laneb.records.experiment import Experiment
from laneb_assets.lane import lane_asset
from laneb_assets.metadata import materialized
from laneb_assets.plots import plotted, statistics_figure
from laneb_assets.resources import Stored


@lane_asset(group="statistics", deps=["token_shards"], settings=["statistics"], kinds=["scipy", "optuna"])
def dataset_stats(store: Stored) -> dg.MaterializeResult:
    """How fast correlations and conditional entropies of the tokens decay, with power-law fits."""
    from laneb.statistics.measure import measure_dataset
    from laneb.statistics.sample import sample_documents

    knobs = store.read(Experiment).statistics
    shards = store.read(TokenShards)
    train = open_shards(shards.path).train
    tokens, starts = sample_documents(train.tokens, train.document_starts, knobs.max_docs, knobs.max_tokens)
    stats = measure_dataset(
        tokens,
        starts,
        knobs=knobs,
        dataset_id=shards.dataset_id,
        tokenizer_id=shards.tokenizer_id,
        split="train",
        vocab_size=shards.vocab_size,
    )
    path = store.write(stats)
    return materialized(
        stats,
        path,
        extra={"decay": plotted(store, "dataset_stats", statistics_figure(stats))},
        num_tokens_sampled=stats.num_tokens_sampled,
        corr_decay_exponent=stats.corr_decay_exponent,
        corr_decay_r2=stats.corr_decay_r2,
        entropy_decay_exponent=stats.entropy_decay_exponent,
        entropy_decay_r2=stats.entropy_decay_r2,
    )
