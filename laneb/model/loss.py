"""Cross-entropy behind a soft-capped head, a chunk of positions at a time.

The logits of a batch are its largest tensor by far (positions x vocabulary). Here they live one chunk at a time, and
the gradient is worked out while a chunk's logits are at hand: less memory, and on a CPU no fresh pages to fault in.

With z = h W^T, s = c tanh(z / c), Z = sum exp(s) and p = exp(s) / Z, the loss of a target y is log Z - s_y, and its
gradient by z is (p - onehot(y)) (1 - tanh^2(z / c)). |s| <= c, so that exp never overflows and no maximum is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SOFT_CAP = 15.0

CHUNK_BYTES = {"cpu": 2**22, "cuda": 2**30}
"""Size of a chunk's float32 logits: on a CPU they stay in its cache, on a GPU they fill it."""


def mean_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy [nats]. hidden: (N, D), any number format; weight: (V, D) float32; targets: (N,) integers."""
    result: Tensor = _MeanLoss.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return result


def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy [nats] of each target, without gradient: (N,) float32."""
    weight = weight.detach().to(hidden.dtype)
    losses = []
    for h, y in _chunks(hidden.detach(), weight, targets):
        _, exponentials, capped = _capped_exponentials(h, weight, y)
        losses.append(exponentials.sum(-1).log_() - capped)
    return torch.cat(losses)


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    limit = CHUNK_BYTES.get(hidden.device.type, CHUNK_BYTES["cpu"])
    rows = max(64, limit // (4 * weight.size(0)))
    return [(hidden[i : i + rows], targets[i : i + rows]) for i in range(0, targets.numel(), rows)]


def _capped_exponentials(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tanh(z / c) and exp(s), both (n, V) float32, and s of the targets (n,)."""
    tanh = (hidden @ weight.T).float().div_(SOFT_CAP).tanh_()
    exponentials = (tanh * SOFT_CAP).exp_()
    capped = tanh.gather(1, targets.unsqueeze(1)).squeeze(1) * SOFT_CAP
    return tanh, exponentials, capped


class _MeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        low = weight.to(hidden.dtype)
        needs_gradient = hidden.requires_grad or weight.requires_grad
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        share, start = 1.0 / targets.numel(), 0
        for h, y in _chunks(hidden, low, targets):
            tanh, exponentials, capped = _capped_exponentials(h, low, y)
            normaliser = exponentials.sum(-1, keepdim=True)
            total += (normaliser.log().squeeze(1) - capped).sum()
            if needs_gradient:
                gradient = exponentials.mul_(share / normaliser)
                gradient.scatter_add_(1, y.unsqueeze(1), gradient.new_full((y.numel(), 1), -share))
                gradient = gradient.addcmul_(gradient, tanh.square_(), value=-1.0).to(h.dtype)
                hidden_gradient[start : start + y.numel()] = gradient @ low
                weight_gradient += gradient.T @ h
            start += y.numel()
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total * share

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outputs[0].to(hidden_gradient.dtype), weight_gradient * outputs[0], None
