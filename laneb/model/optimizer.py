"""Adam for tables, head and scalars; Muon for matrices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from laneb.model.gpt import GPT
from laneb.model.scaling import REFERENCE_BATCH_TOKENS

ADAM_BETAS = (0.8, 0.95)
EMBEDDING_SCALE_BETAS = (0.96, 0.95)
ADAM_EPSILON = 1e-10
REFERENCE_WIDTH = 768
"""Adam's rates are meant for this width and scale with its inverse root; Muon's need no such scaling."""

RESIDUAL_SCALE_SHARE = 0.01
"""The residual scales multiply whole layers, so they learn this much slower than the other scalars."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
"""Quintic that drives singular values to about 1. Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon."""


def batch_scale(total_batch_size: int) -> float:
    """Factor on every rate for a batch of that many tokens: sqrt(tokens / 2^19)."""
    return math.sqrt(total_batch_size / REFERENCE_BATCH_TOKENS)


class Adam:
    """Adam on one group of parameters: what torch.optim.AdamW(fused=True) computes, without decay.

    The same kernel is called directly: an optimizer of torch.optim imports torch's compiler, which takes longer than
    all else that a run on a CPU does before its first step.
    """

    def __init__(self, params: Sequence[Tensor], rate: float, betas: tuple[float, float] = ADAM_BETAS) -> None:
        self.params, self.rate, self.betas = list(params), rate, betas
        self._means = [torch.zeros_like(p) for p in self.params]
        self._squares = [torch.zeros_like(p) for p in self.params]
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.params]

    @torch.no_grad()
    def step(self, multiplier: float) -> None:
        """Update every parameter from its gradient, at `multiplier` times the rate."""
        gradients = [p.grad for p in self.params if p.grad is not None]
        torch._foreach_add_(self._steps, 1)
        torch._fused_adamw_(
            self.params,
            gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            lr=self.rate * multiplier,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=ADAM_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> list[Tensor]:
        """The tensors that the next step depends on."""
        return [*self._means, *self._squares, *self._steps]


class Muon:
    """Momentum whose update is orthogonalised, with decoupled decay, on matrices of one shape as one stack.

    Differs from torch.optim.Muon only in speed: that one loops over matrices and always multiplies in bfloat16.
    The rate is scaled by sqrt(max(1, rows / columns)).

    Args:
        params: matrices of one shape.
        rate, decay: at the start of a run.
        dtype: number format of the orthogonalisation.
    """

    def __init__(self, params: Sequence[Tensor], rate: float, decay: float, dtype: torch.dtype) -> None:
        self.params, self.rate, self.decay, self._dtype = list(params), rate, decay, dtype
        self._velocity = torch.zeros((len(self.params), *self.params[0].shape), device=self.params[0].device)

    @torch.no_grad()
    def step(self, multiplier: float, momentum: float, decay: float) -> None:
        """Update every matrix, at `multiplier` times the rate and `decay` times the decay."""
        gradient = torch.stack([p.grad for p in self.params if p.grad is not None])
        self._velocity.lerp_(gradient, 1 - momentum)
        update = orthogonalise(gradient.lerp_(self._velocity, momentum).to(self._dtype)).float()
        rows, columns = self.params[0].shape
        rate = self.rate * multiplier
        torch._foreach_mul_(self.params, 1 - rate * self.decay * decay)
        torch._foreach_add_(self.params, list(update.unbind()), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def state(self) -> list[Tensor]:
        """The tensors that the next step depends on."""
        return [self._velocity]


def orthogonalise(matrices: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T, by Newton-Schulz iteration. (n, rows, columns) -> the same."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimizers:
    """The optimizers of a model as one, with rates that follow a schedule.

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
        self._model = model
        scale = batch_scale(total_batch_size)
        wide = scale * (model.shape.model_dim / REFERENCE_WIDTH) ** -0.5
        tables = [model.token_embedding.weight, *model.value_embeddings.parameters()]
        self.adams = [
            Adam([model.head.weight], unembedding_lr * wide),
            Adam(tables, embedding_lr * wide),
            Adam([model.residual_scales], scalar_lr * scale * RESIDUAL_SCALE_SHARE),
            Adam([model.embedding_scales], scalar_lr * scale, EMBEDDING_SCALE_BETAS),
        ]
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in model.blocks.parameters():
            by_shape[matrix.shape].append(matrix)
        self.muons = [Muon(stack, matrix_lr * scale, weight_decay, model.dtype) for stack in by_shape.values()]

    def step(self, *, learning_rate: float, momentum: float, weight_decay: float) -> None:
        """One update.

        Args:
            learning_rate: multiplier of every rate.
            momentum: Muon's.
            weight_decay: multiplier of Muon's decay.
        """
        for adam in self.adams:
            adam.step(learning_rate)
        for muon in self.muons:
            muon.step(learning_rate, momentum, weight_decay)

    def zero_grad(self) -> None:
        """Drop every gradient."""
        for parameter in self._model.parameters():
            parameter.grad = None

    def state(self) -> list[Tensor]:
        """The tensors that a checkpoint keeps."""
        parts: list[Adam | Muon] = [*self.adams, *self.muons]
        return [tensor for part in parts for tensor in part.state()]

    @torch.no_grad()
    def load_state(self, state: list[Tensor]) -> None:
        """Take up a checkpoint's tensors."""
        for tensor, kept in zip(self.state(), state, strict=True):
            tensor.copy_(kept)
