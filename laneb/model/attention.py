"""Causal attention, over the whole context or a window of it, by whichever way is fastest where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

PLAIN_MAX_LENGTH = 512
"""On a CPU in bfloat16, plain products and a softmax take half the time of torch's fused kernel up to this context."""


def visible(length: int, window: int) -> Tensor:
    """True where position i may attend to j: i - window < j <= i, so `window` counts i itself. (T, T)."""
    back = torch.arange(length).unsqueeze(1) - torch.arange(length).unsqueeze(0)
    return (back >= 0) & (back < window)


def blocks_of_window(length: int, window: int, device: torch.device) -> BlockMask:
    """What `visible` says, by blocks of positions: FlexAttention skips those in which nothing is visible.

    Under torch.compile on a GPU, a window then costs its share of the full context; a mask would cost all of it.
    """
    # Imports torch's compiler, which a run on a CPU has no use for.
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(row: Tensor, head: Tensor, here: Tensor, there: Tensor) -> Tensor:
        return (there <= here) & (here - there < window)

    return create_block_mask(sees, None, None, length, length, device=device)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | BlockMask, gain: float = 1.0) -> Tensor:
    """softmax(gain q k^T / sqrt(E)) v under a mask.

    Args:
        q: (B, T, H, E).
        k, v: (B, T, K, E), K a divisor of H.
        window: tokens that are visible, the position itself included.
        mask: what `visible` gives for the window, (T, T), or `blocks_of_window`.
        gain: factor on the scores.

    Returns:
        (B, T, H, E).
    """
    if not isinstance(mask, Tensor):
        return _by_blocks(q, k, v, mask, gain)
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.size(1) <= PLAIN_MAX_LENGTH:
        return _plain(q, k, v, mask, gain)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    causal = window >= q.size(2)
    if q.is_cuda and not causal and k.size(1) != q.size(1):
        # torch fuses shared heads with a causal mask only; with another one it would keep all scores.
        k, v = (x.repeat_interleave(q.size(1) // x.size(1), dim=1) for x in (k, v))
    attended = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=None if causal else mask,
        is_causal=causal,
        scale=None if gain == 1 else gain * q.size(-1) ** -0.5,
        enable_gqa=q.size(1) != k.size(1),
    )
    return attended.transpose(1, 2)


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, gain: float) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    attended = flex_attention(
        q, k, v, block_mask=mask, scale=gain * q.size(-1) ** -0.5, enable_gqa=q.size(1) != k.size(1)
    )
    assert isinstance(attended, Tensor)
    return attended.transpose(1, 2)


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, gain: float) -> Tensor:
    rows, length, heads, head_dim = q.shape
    if k.size(2) != heads:
        k, v = (x.repeat_interleave(heads // x.size(2), dim=2) for x in (k, v))
    q, k, v = (x.transpose(1, 2).reshape(rows * heads, length, head_dim) for x in (q, k, v))
    hidden = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
    scores = torch.baddbmm(hidden.expand(rows * heads, length, length), q, k.mT, alpha=gain * head_dim**-0.5)
    return (scores.softmax(-1) @ v).view(rows, heads, length, head_dim).transpose(1, 2)
