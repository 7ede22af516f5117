"""Scaling to unit root mean square, with a gradient of few passes.

torch works the gradient of its rms_norm out from its parts on a CPU: three times the passes over memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1e-4
"""Root mean square below which a vector is left short: zeros stay zeros."""


def unit_rms(x: Tensor, epsilon: float = 0.0) -> Tensor:
    """y = x / sqrt(mean(x^2) + epsilon) over the last dimension."""
    apply: Callable[[Tensor, float], Tensor] = _UnitRms.apply
    return apply(x, epsilon)


class _UnitRms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        size = length * x.size(-1) ** -0.5
        if epsilon:
            size = size.square().add_(epsilon).sqrt_()
        inverse = size.clamp_min_(SMALLEST).reciprocal_().to(x.dtype)
        y: Tensor = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        y, inverse = ctx.saved_tensors
        along = (gradients[0] * y).mean(-1, keepdim=True)
        gradient: Tensor = torch.addcmul(gradients[0], y, along, value=-1).mul_(inverse)
        return gradient, None
