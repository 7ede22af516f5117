"""Adam for tables, head and scalars; Muon for matrices; in the groups and at the rates of a recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from laneb.model.gpt import GPT
from laneb.model.muon import Muon, NormalisedMuon, Orthogonalise
from laneb.model.recipes.recipe import Rates
from laneb.model.scaling import batch_scale, decay_scale

ADAM_EPSILON = 1e-10
REFERENCE_WIDTH = 768
"""Adam's rates are meant for this width and scale with its inverse root; Muon's need no such scaling."""


class Adam:
    """Adam on one group of parameters: what torch.optim.AdamW(fused=True) computes.

    The same kernel is called directly: an optimizer of torch.optim imports torch's compiler, which takes longer than
    all else that a run on a CPU does before its first step.
    """

    def __init__(self, params: Sequence[Tensor], rate: float, betas: tuple[float, float], decay: float = 0.0) -> None:
        self.params, self.rate, self.betas, self.decay = list(params), rate, betas, decay
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
            weight_decay=self.decay,
            eps=ADAM_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> list[Tensor]:
        """The tensors that the next step depends on."""
        return [*self._means, *self._squares, *self._steps]


class Optimizers:
    """The optimizers of a model as one, with rates that follow a schedule.

    Args:
        model: the model to train; its recipe says which parameters are updated how.
        total_batch_size: tokens per step; rates and decay are scaled by it.
        rates: before scaling, by the names of their knobs: embedding_lr, unembedding_lr, matrix_lr, scalar_lr,
            weight_decay.
        share: makes of the recipe's orthogonalisation one that the processes of a run do together.
    """

    def __init__(
        self,
        model: GPT,
        *,
        total_batch_size: int,
        rates: Mapping[str, float],
        share: Callable[[Orthogonalise], Orthogonalise] = lambda alone: alone,
    ) -> None:
        self._model = model
        recipe = model.recipe
        orthogonalise = share(recipe.orthogonalise)
        scaled = Rates(
            embedding=rates["embedding_lr"],
            unembedding=rates["unembedding_lr"],
            scalar=rates["scalar_lr"],
            batch=batch_scale(total_batch_size),
            width=(model.shape.model_dim / REFERENCE_WIDTH) ** -0.5,
        )
        self.adams = [
            Adam(_parameters(model, group.parameters), group.rate(scaled), group.betas, group.decay)
            for group in recipe.adam
        ]
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for matrix in model.blocks.parameters():
            by_shape[matrix.shape].append(matrix)
        rate = rates["matrix_lr"] * scaled.batch
        decay = rates["weight_decay"] * decay_scale(model.shape, total_batch_size)
        self.muons: list[Muon] = []
        for stack in by_shape.values():
            if recipe.row_memory is None:
                self.muons.append(Muon(stack, rate, decay, orthogonalise, model.dtype))
            else:
                self.muons.append(
                    NormalisedMuon(stack, rate, decay, orthogonalise, model.dtype, row_memory=recipe.row_memory)
                )

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


def _parameters(model: GPT, names: Sequence[str]) -> list[Tensor]:
    """The parameters behind attributes of a model, each a module or a parameter."""
    held = [getattr(model, name) for name in names]
    return [tensor for part in held for tensor in (part.parameters() if isinstance(part, nn.Module) else [part])]
