"""What the corpus itself, and models trained on it, say about how fast loss falls with data."""

import dagster as dg

from laneb.corpus.shards import open_shards
from laneb.records.corpus import TokenShards
from laneb.records.statistics import DatasetStats
from laneb.settings import Settings
from laneb.wanted import baseline_runs
from laneb_assets.assets.declaring import lane_asset
from laneb_assets.resources import Stored
from laneb_assets.views.metadata import materialized
from laneb_assets.views.plots import plotted
from laneb_assets.views.statistics_plots import context_loss_figure, statistics_figure


def statistics_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The corpus' statistics; and what trained baselines add to them, where baselines are trained."""
    stats = lane_asset(
        settings,
        dataset_stats,
        group="statistics",
        deps=["token_shards"],
        sections=["statistics"],
        kinds=["scipy", "optuna"],
    )
    loss = lane_asset(
        settings,
        context_loss,
        group="statistics",
        deps=["baseline_runs", "dataset_stats"],
        sections=["baseline"],
        kinds=["scipy"],
    )
    return [stats, loss] if settings.baseline.source == "runs" else [stats]


def dataset_stats(store: Stored) -> dg.MaterializeResult:
    """How fast correlations and conditional entropies of the tokens decay, with power-law fits."""
    from laneb.statistics.measure import measure_dataset
    from laneb.statistics.sample import sample_documents

    knobs = store.experiment().statistics
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


def context_loss(context: dg.AssetExecutionContext, store: Stored) -> dg.MaterializeResult:
    """How fast the finished baselines' loss falls with context, and the exponent that theory makes of it."""
    from laneb.statistics import context_loss_decay

    decay = context_loss_decay(baseline_runs(store, store.experiment()), store.read(DatasetStats))
    if decay.reason:
        context.log.info(f"No exponent from the loss by context: {decay.reason}. Nothing depends on it.")
    path = store.write(decay)
    low, high = decay.gamma_interval or (None, None)
    return materialized(
        decay,
        path,
        extra={"decay": plotted(store, "context_loss", context_loss_figure(decay))} if decay.curve else {},
        gamma=decay.gamma,
        gamma_low=low,
        gamma_high=high,
        alpha=decay.alpha,
        beta=decay.beta,
        h_inf_bits=decay.h_inf_bits,
        r2=decay.r2,
        reason=decay.reason or None,
    )
