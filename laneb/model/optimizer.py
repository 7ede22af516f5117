"""AdamW for tables, head and scalars; Muon for matrices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from laneb.model.gpt import GPT
from laneb.model.scaling import REFERENCE_BATCH_TOKENS

ADAM_BETAS = (0.8, 0.95)
EMBEDDING_SCALE_BETAS = (0.96, 0.95)
ADAM_EPSILON = 1e-10
REFERENCE_WIDTH = 768
"""AdamW's rates are meant for this width and scale with its inverse root; Muon's need no such scaling."""

RESIDUAL_SCALE_SHARE = 0.01
"""The residual scales multiply whole layers, so they learn this much slower than the other scalars."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
"""Quintic that drives singular values to about 1. Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon."""


def batch_scale(total_batch_size: int) -> float:
    """Factor on every rate for a batch of that many tokens: sqrt(tokens / 2^19)."""
    return math.sqrt(total_batch_size / REFERENCE_BATCH_TOKENS)


class Muon(Optimizer):
    """Momentum whose update is orthogonalised, with decoupled decay; matrices of one shape are treated as one stack.

    Differs from torch.optim.Muon only in speed: that one loops over matrices and always multiplies in bfloat16.
    The rate is scaled by sqrt(max(1, rows / columns)).

    Args:
        params: matrices.
        lr, momentum, weight_decay: as `Optimizers.step` sets them before each update.
        dtype: number format of the orthogonalisation.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in params:
            by_shape[parameter.shape].append(parameter)
        groups = [{"params": group} for group in by_shape.values()]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix from its gradient."""
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            gradient = torch.stack([p.grad for p in parameters if p.grad is not None])
            state = self.state[parameters[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            velocity: Tensor = state["momentum"]
            velocity.lerp_(gradient, 1 - group["momentum"])
            update = orthogonalise(gradient.lerp_(velocity, group["momentum"]).to(self.dtype)).float()
            rows, columns = parameters[0].shape
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * math.sqrt(max(1.0, rows / columns))
            torch._foreach_add_(parameters, list(update.unbind()), alpha=-rate)


def orthogonalise(matrices: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T, by Newton-Schulz iteration. (n, rows, columns) -> the same."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimizers:
    """The two optimizers of a model as one, with rates that follow a schedule.

    Args:
        model: the model to train.
        total_batch_size: tokens per step; every rate is scaled by `batch_scale`.
        embedding_lr, unembedding_lr, matrix_lr, scalar_lr: rates before scaling.
        weight_decay: Muon's.
    """

    def __init__(
        self,
        model: GPT,
        *,
        total_batch_size: int,
        embedding_lr: float,
        unembedding_lr: float,
        matrix_lr: float,
        scalar_lr: float,
        weight_decay: float,
    ) -> None:
        scale = batch_scale(total_batch_size)
        wide = scale * (model.shape.model_dim / REFERENCE_WIDTH) ** -0.5
        tables = [model.token_embedding.weight, *(table.weight for table in model.value_embeddings.values())]
        self.adam = AdamW(
            [
                {"params": [model.head.weight], "lr": unembedding_lr * wide},
                {"params": tables, "lr": embedding_lr * wide},
                {"params": [model.residual_scales], "lr": scalar_lr * scale * RESIDUAL_SCALE_SHARE},
                {"params": [model.embedding_scales], "lr": scalar_lr * scale, "betas": EMBEDDING_SCALE_BETAS},
            ],
            betas=ADAM_BETAS,
            eps=ADAM_EPSILON,
            weight_decay=0.0,
            fused=model.head.weight.device.type != "mps",
        )
        self.muon = Muon(
            model.blocks.parameters(),
            lr=matrix_lr * scale,
            momentum=0.95,
            weight_decay=weight_decay,
            dtype=model.dtype,
        )
        self._peak_rates = [group["lr"] for group in self._groups()]
        self._weight_decay = weight_decay

    def step(self, *, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """One update.

        Args:
            learning_rate: multiplier of every rate.
            momentum: Muon's.
            weight_decay: multiplier of Muon's decay.
        """
        for group, rate in zip(self._groups(), self._peak_rates, strict=True):
            group["lr"] = rate * learning_rate
        for group in self.muon.param_groups:
            group["momentum"], group["weight_decay"] = momentum, self._weight_decay * weight_decay
        self.adam.step()
        self.muon.step()

    def zero_grad(self) -> None:
        """Drop every gradient."""
        self.adam.zero_grad()
        self.muon.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])

    def _groups(self) -> list[dict[str, Any]]:
        return [*self.adam.param_groups, *self.muon.param_groups]
