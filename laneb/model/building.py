"""A model from its sizes, as a function of a seed."""

from __future__ import annotations

import torch

from laneb.model.gpt import GPT
from laneb.model.scaling import ModelShape


def build(
    *,
    depth: int,
    aspect_ratio: int = 64,
    head_dim: int = 128,
    max_seq_len: int = 2048,
    vocab_size: int = 32768,
    window_pattern: str = "L",
    n_kv_head: int = -1,
    recipe: str = "nanochat-2026-02",
    seed: int = 42,
    dtype: torch.dtype = torch.float32,
) -> GPT:
    """A model with its initial weights, on the CPU: in float32, those of nanochat for that seed, bit for bit.

    Args:
        depth, aspect_ratio, head_dim, max_seq_len, vocab_size, window_pattern, n_kv_head, recipe: as of `ModelShape`.
        seed: of the weights.
        dtype: number format of activations and products; weights are float32.

    Raises:
        ValueError: sizes that make no model, or an unknown recipe.

    >>> model = build(depth=2, aspect_ratio=32, head_dim=32, max_seq_len=16, vocab_size=64, recipe="nanochat-2026-07")
    >>> rows = torch.arange(34).view(2, 17)
    >>> round(model(rows[:, :-1], rows[:, 1:]).item(), 2)  # ln 64: nothing is learned yet
    4.16
    """
    shape = ModelShape(
        recipe=recipe,
        depth=depth,
        aspect_ratio=aspect_ratio,
        head_dim=head_dim,
        n_kv_head=n_kv_head,
        max_seq_len=max_seq_len,
        window_pattern=window_pattern,
        vocab_size=vocab_size,
    )
    model = GPT(shape, dtype)
    model.initialise(seed)
    return model
