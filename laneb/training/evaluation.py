"""What a model is worth on validation text: bits per byte, and bits per token by the length of context."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from laneb.records.runs import ContextLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from laneb.model.gpt import GPT
    from laneb.training.devices import Device


BINS_PER_OCTAVE = 4
"""Bins of context lengths. Narrower ones say nothing more of a power law, and make results long."""


def bits_per_byte(
    model: GPT,
    batches: Iterable[NDArray[np.int64]],
    token_bytes: Tensor,
    device: Device,
    between: Callable[[], None] = lambda: None,
) -> float:
    """Validation loss in bits per UTF-8 byte of the text that the targets stand for.

    `bpb = sum of nats / (ln 2 * sum of bytes)` over the targets that stand for bytes. Special tokens stand for none:
    their losses are left out, and so is their (zero) length, or a corpus of short documents would look easier.

    Args:
        model: gives the losses.
        batches: int64 arrays [rows, T + 1]: inputs and targets overlap in all but one token. With several
            processes each gets its own batches; the sums are added up.
        token_bytes: UTF-8 bytes per token, 0 for specials: integers [V], on the device.
        device: where the model is.
        between: called before each batch; may raise to abandon the evaluation.

    Returns:
        bits per byte; NaN when a loss is.

    Raises:
        ValueError: no target stands for a byte.
    """
    sums = torch.zeros(2, dtype=torch.float64, device=device.reduction_device)
    for batch in batches:
        between()
        rows = device.put(batch)
        targets = rows[:, 1:].contiguous()
        losses = model.losses(rows[:, :-1], targets)
        lengths = token_bytes[targets]
        sums[0] += (losses * (lengths > 0)).to(sums.device).sum(dtype=torch.float64)
        sums[1] += lengths.sum().to(sums.device)
    device.add_up(sums)
    nats, count = sums.tolist()
    if not count:
        raise ValueError("the validation rows hold special tokens only: add text, or raise LANE_B_EVAL_TOKENS")
    return float(nats / (math.log(2) * count))


def loss_by_context(
    model: GPT,
    batches: Iterable[NDArray[np.int64]],
    device: Device,
    between: Callable[[], None] = lambda: None,
) -> tuple[ContextLoss, ...] | None:
    """Mean loss by the length of context, in bins that are even in its logarithm, with standard errors.

    Args:
        model: gives the losses.
        batches: int64 arrays [rows, T + 1] of rows that each lie in one document (see `data.context_rows`). With
            several processes each gets its own batches; the sums are added up.
        device: where the model is.
        between: called before each batch; may raise to abandon the evaluation.

    Returns:
        Bins of the lengths 1 to T; None with fewer than two rows, which have no spread, or a loss that is no number.
    """
    length = model.shape.max_seq_len
    bins = context_bins(length)
    averaging = torch.zeros(length, len(bins), dtype=torch.float64)
    for column, (first, last) in enumerate(bins):
        averaging[first - 1 : last, column] = 1 / (last - first + 1)
    averaging = averaging.to(device.reduction_device)
    sums = torch.zeros(4, len(bins), dtype=torch.float64, device=device.reduction_device)
    for batch in batches:
        between()
        rows = device.put(batch)
        losses = model.losses(rows[:, :-1], rows[:, 1:].contiguous()).to(sums.device).double() / math.log(2)
        bits = losses @ averaging  # (B, bins)
        shape = bits - losses.mean(1, keepdim=True)
        sums += torch.stack((torch.ones_like(bits), bits, shape, shape**2)).sum(1)
    device.add_up(sums)
    count = int(sums[0, 0].item())
    if count < 2 or not sums.isfinite().all():
        return None
    means = sums[1] / count
    variances = (sums[3] - sums[2] ** 2 / count) / (count - 1)
    errors = (variances.clamp(min=0) / count).sqrt()
    table = zip(bins, means.tolist(), errors.tolist(), strict=True)
    return tuple(ContextLoss(first, last, bits, error) for (first, last), bits, error in table)


def context_bins(longest: int) -> list[tuple[int, int]]:
    """First and last length of each bin of the lengths 1 to `longest`, each length in one bin."""
    bins, first = [], 1
    while first <= longest:
        last = max(first, round(first * 2 ** (1 / BINS_PER_OCTAVE)) - 1)
        bins.append((first, min(last, longest)))
        first = last + 1
    return bins
