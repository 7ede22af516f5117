"""Muon: momentum whose update is orthogonalised, on matrices of one shape as one stack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Orthogonalise = Callable[[Tensor, torch.dtype], Tensor]


class Muon:
    """Momentum, orthogonalised, with decoupled decay.

    Differs from torch.optim.Muon only in speed: that one loops over matrices and always multiplies in bfloat16.
    The rate is scaled by sqrt(max(1, rows / columns)).

    Args:
        params: matrices of one shape.
        rate, decay: at the start of a run.
        orthogonalise: (n, rows, columns) and the number format to work in -> the same in float32.
        dtype: number format of the model.
    """

    def __init__(
        self, params: Sequence[Tensor], rate: float, decay: float, orthogonalise: Orthogonalise, dtype: torch.dtype
    ) -> None:
        self.params, self.rate, self.decay, self._dtype = list(params), rate, decay, dtype
        self._orthogonalise = orthogonalise
        self._velocity = torch.zeros((len(self.params), *self.params[0].shape), device=self.params[0].device)

    @torch.no_grad()
    def step(self, multiplier: float, momentum: float, decay: float) -> None:
        """Update every matrix, at `multiplier` times the rate and `decay` times the decay."""
        gradient = torch.stack([p.grad for p in self.params if p.grad is not None])
        self._velocity.lerp_(gradient, 1 - momentum)
        update = self._orthogonalise(gradient.lerp_(self._velocity, momentum), self._dtype)
        rows, columns = self.params[0].shape
        rate = self.rate * multiplier
        self._apply(update, rate * math.sqrt(max(1.0, rows / columns)), rate, self.decay * decay)

    def _apply(self, update: Tensor, step_rate: float, rate: float, decay: float) -> None:
        torch._foreach_mul_(self.params, 1 - rate * decay)
        torch._foreach_add_(self.params, list(update.unbind()), alpha=-step_rate)

    def state(self) -> list[Tensor]:
        """The tensors that the next step depends on."""
        return [self._velocity]


class NormalisedMuon(Muon):
    """Muon with rows evened out (NorMuon) and weights that decay only where the update shrinks them.

    Each row of an update, or column of a wide one, is divided by its running root mean square; the whole is as large
    as before. Sources: Li et al. 2025 (arXiv:2510.05491), Chen et al. 2025 (arXiv:2510.12402).

    Args:
        row_memory: of the running mean squares.
        params, rate, decay, orthogonalise, dtype: as of Muon.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        rate: float,
        decay: float,
        orthogonalise: Orthogonalise,
        dtype: torch.dtype,
        *,
        row_memory: float,
    ) -> None:
        super().__init__(params, rate, decay, orthogonalise, dtype)
        count, rows, columns = self._velocity.shape
        self._across = -1 if rows >= columns else -2
        self._row_memory = row_memory
        self._squares = torch.zeros(
            (count, rows, 1) if rows >= columns else (count, 1, columns), device=self._velocity.device
        )

    def step(self, multiplier: float, momentum: float, decay: float) -> None:
        """Update every matrix, at `multiplier` times the rate and `decay` times the decay."""
        # nanochat keeps its momentum in float32, and an orthogonalisation in bfloat16 magnifies the last bit.
        super().step(multiplier, float(torch.tensor(momentum, dtype=torch.float32)), decay)

    def _apply(self, update: Tensor, step_rate: float, rate: float, decay: float) -> None:
        update = self._evened(update)
        # The rate of a tall matrix scales its decay too.
        for parameter, change in zip(self.params, update.unbind(), strict=True):
            shrinks = (change * parameter) >= 0
            parameter.sub_(step_rate * change + step_rate * decay * parameter * shrinks)

    def _evened(self, update: Tensor) -> Tensor:
        whole, number = (-2, -1), update.size(self._across)
        power = update.square().mean(dim=self._across, keepdim=True)
        length = (power.sum(dim=whole, keepdim=True) * number).sqrt()
        self._squares.lerp_(power, 1 - self._row_memory)
        scale = self._squares.clamp_min(1e-10).rsqrt()
        scaled_length = (power * number * scale.square()).sum(dim=whole, keepdim=True).sqrt()
        return update * (scale * (length / scaled_length.clamp_min(1e-10)))

    def state(self) -> list[Tensor]:
        """The tensors that the next step depends on."""
        return [self._velocity, self._squares]
