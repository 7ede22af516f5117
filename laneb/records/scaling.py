"""Parameter counts of a model shape."""

from __future__ import annotations

from laneb.records.base import Record


class ParamCounts(Record):
    """Parameters by group; `total` is their sum."""

    wte: int
    value_embeds: int
    lm_head: int
    transformer_matrices: int
    scalars: int
    total: int


class ScalingParams(Record):
    """A model's shape and the parameters that the ratio counts: transformer matrices and head."""

    timestamp_utc: str
    depth: int
    aspect_ratio: int
    head_dim: int
    n_head: int
    n_kv_head: int
    max_seq_len: int
    window_pattern: str
    vocab_size: int
    model_dim: int
    param_counts: ParamCounts
    n_scaling_params: int
