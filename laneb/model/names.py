"""A model's weights under nanochat's names, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from laneb.model.gpt import GPT

_NAMES = (
    ("token_embedding.", "transformer.wte."),
    ("value_embeddings.", "value_embeds."),
    ("blocks.", "transformer.h."),
    (".attention.query.", ".attn.c_q."),
    (".attention.key.", ".attn.c_k."),
    (".attention.value.", ".attn.c_v."),
    (".attention.output.", ".attn.c_proj."),
    (".attention.value_gate.", ".attn.ve_gate."),
    (".mlp.expand.", ".mlp.c_fc."),
    (".mlp.contract.", ".mlp.c_proj."),
    ("head.", "lm_head."),
    ("residual_scales", "resid_lambdas"),
    ("embedding_scales", "x0_lambdas"),
    ("smear_scale", "smear_lambda"),
    ("backout_scale", "backout_lambda"),
)


def nanochat_name(name: str) -> str:
    """What nanochat calls a parameter of ours."""
    for ours, theirs in _NAMES:
        start = "" if ours.startswith(".") else "^"
        name = re.sub(start + re.escape(ours), theirs, name)
    return name


def nanochat_state(model: GPT, *, gradients: bool = False) -> dict[str, Tensor]:
    """The weights (or their gradients) under nanochat's names: float32, sharing no memory with the model."""
    found = {}
    for name, parameter in model.named_parameters():
        tensor = parameter.grad if gradients else parameter
        if tensor is not None:
            found[nanochat_name(name)] = tensor.detach().clone()
    return found


@torch.no_grad()
def load_nanochat_state(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Fill a model's weights from tensors under nanochat's names, of whatever number format.

    Raises:
        ValueError: a name is missing or unknown, or a tensor has another shape; nothing is filled then.
    """
    # torch.compile puts its own name before each.
    given = {name.removeprefix("_orig_mod."): tensor for name, tensor in state.items()}
    ours = {nanochat_name(name): parameter for name, parameter in model.named_parameters()}
    problems = [
        f"{said}: {', '.join(sorted(names))}"
        for said, names in (("missing", ours.keys() - given.keys()), ("unknown", given.keys() - ours.keys()))
        if names
    ]
    problems += [
        f"{name} is {tuple(given[name].shape)} where the model has {tuple(parameter.shape)}"
        for name, parameter in ours.items()
        if name in given and given[name].shape != parameter.shape
    ]
    if problems:
        raise ValueError(
            f"these are not the weights of a {model.recipe.name} model of this shape: {'; '.join(problems)}"
        )
    for name, parameter in ours.items():
        parameter.copy_(given[name])
