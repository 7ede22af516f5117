"""Cross-entropy behind a soft-capped head, a chunk of positions at a time.

The logits of a batch are its largest tensor by far (positions x vocabulary). Here they live one chunk at a time, and
the gradient is worked out while a chunk's logits are at hand: less memory, and on a CPU no fresh pages to fault in.

The capped logit of z = h . w is s = c tanh(z / c). With r = 1 / (1 + exp(2 z / c)), s = c - 2 c r: one logistic in
place of a hyperbolic tangent, which is slow on a CPU. Then exp(s - c) = exp(-2 c r) never overflows, the loss of target
y is log sum_v exp(-2 c r_v) + 2 c r_y, and its gradient by z is (softmax(s) - onehot(y)) * 4 r (1 - r).
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
    return torch.cat([_chunk_losses(h @ weight.T, y)[2] for h, y in _chunks(hidden.detach(), weight, targets)])


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    limit = CHUNK_BYTES.get(hidden.device.type, CHUNK_BYTES["cpu"])
    rows = max(64, limit // (4 * weight.size(0)))
    return [(hidden[i : i + rows], targets[i : i + rows]) for i in range(0, targets.numel(), rows)]


def _chunk_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """r and softmax(s), both (n, V) float32, and the losses (n,), of logits z (n, V)."""
    r = logits.float().mul_(2 / SOFT_CAP).exp_().add_(1).reciprocal_()
    exponentials = (r * (-2 * SOFT_CAP)).exp_()
    sums = exponentials.sum(-1, keepdim=True)
    losses = sums.log() + r.gather(1, targets.unsqueeze(1)) * (2 * SOFT_CAP)
    return r, exponentials.div_(sums), losses.squeeze(1)


def _chunk_gradient(r: Tensor, probabilities: Tensor, targets: Tensor, share: float) -> Tensor:
    """Gradient of share * sum of losses by z, (n, V) float32; takes over both matrices."""
    places = targets.unsqueeze(1)
    gradient = probabilities.scatter_add_(1, places, probabilities.new_full(places.shape, -1.0))
    return gradient.mul_(torch.addcmul(r, r, r, value=-1.0, out=r)).mul_(4 * share)


class _MeanLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        low = weight.to(hidden.dtype)
        needs_gradient = hidden.requires_grad or weight.requires_grad
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        share, start = 1.0 / targets.numel(), 0
        for h, y in _chunks(hidden, low, targets):
            r, probabilities, losses = _chunk_losses(h @ low.T, y)
            total += losses.sum()
            if needs_gradient:
                gradient = _chunk_gradient(r, probabilities, y, share).to(h.dtype)
                torch.mm(gradient, low, out=hidden_gradient[start : start + y.numel()])
                weight_gradient += gradient.T @ h
            start += y.numel()
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total * share

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outputs[0].to(hidden_gradient.dtype), weight_gradient * outputs[0], None
