"""Bits per byte: a loss that does not depend on the tokenizer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from laneb.model.gpt import GPT
    from laneb.training.devices import Device


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
