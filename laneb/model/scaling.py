"""Parameter counts, batch size and horizon of a model shape, without building weights and without torch."""

from __future__ import annotations

import math
import sys

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from laneb.knobs import ModelKnobs
from laneb.model.recipes import recipe_named
from laneb.model.recipes.recipe import Recipe
from laneb.records.base import utc_now
from laneb.records.scaling import ParamCounts, ScalingParams

VOCAB_MULTIPLE = 64
"""Rows of every table over the vocabulary are padded to this, for kernels that want aligned shapes."""

SMALLEST_HEAD = 32
"""The gates of every recipe read so many channels of the residual stream at most."""

REFERENCE_DEPTH = 12
REFERENCE_BATCH_TOKENS = 2**19
BATCH_EXPONENT = 0.383
"""The best batch grows with the model: B = 2^19 at depth 12, then as (scaling parameters)^0.383."""


class ModelShape(BaseModel):
    """What fixes the tensors of a GPT.

    Attributes:
        recipe: whose architecture it is; see `laneb.model.recipes`.
        depth: transformer layers.
        aspect_ratio: width per layer; the width is rounded up to whole heads.
        head_dim: width of an attention head; even, for the rotary embedding.
        n_kv_head: key and value heads; -1 for as many as query heads. Must divide the query heads.
        max_seq_len: context [tokens].
        window_pattern: a letter per layer, tiled: L attends to the whole context, S to the recipe's part of it. The
            last layer always attends to the whole.
        vocab_size: tokens in the vocabulary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    recipe: str = "nanochat-2026-02"
    depth: int = Field(ge=1)
    aspect_ratio: int = Field(ge=1)
    head_dim: int = Field(ge=SMALLEST_HEAD, multiple_of=2)
    n_kv_head: int = Field(default=-1, ge=-1)
    max_seq_len: int = Field(ge=1)
    window_pattern: str = Field(default="L", pattern="^[LSls]+$")
    vocab_size: int = Field(ge=1)

    @field_validator("recipe")
    @classmethod
    def _known_recipe(cls, name: str) -> str:
        return recipe_named(name).name

    @model_validator(mode="after")
    def _whole_groups_of_heads(self) -> Self:
        if self.n_kv_head == 0 or self.n_head % self.kv_heads:
            raise ValueError(
                f"n_kv_head={self.n_kv_head}: the {self.n_head} heads of depth {self.depth}, aspect ratio "
                f"{self.aspect_ratio}, head dim {self.head_dim} need a divisor of {self.n_head}, or -1 for as many"
            )
        return self

    @classmethod
    def of(cls, knobs: ModelKnobs, vocab_size: int) -> Self:
        """The shape that an experiment's knobs and its vocabulary make."""
        return cls(vocab_size=vocab_size, **knobs.model_dump())

    @property
    def model_dim(self) -> int:
        """Width of the residual stream."""
        return math.ceil(self.depth * self.aspect_ratio / self.head_dim) * self.head_dim

    @property
    def n_head(self) -> int:
        """Query heads."""
        return self.model_dim // self.head_dim

    @property
    def kv_heads(self) -> int:
        """Key and value heads, resolved."""
        return self.n_head if self.n_kv_head == -1 else self.n_kv_head

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding tables and the head."""
        return math.ceil(self.vocab_size / VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    @property
    def value_embedding_layers(self) -> tuple[int, ...]:
        """Layers that add a value embedding: every other one, the last among them."""
        return tuple(layer for layer in range(self.depth) if layer % 2 == (self.depth - 1) % 2)

    @property
    def recipe_of(self) -> Recipe:
        """The recipe itself."""
        return recipe_named(self.recipe)

    def window(self, layer: int) -> int:
        """A layer's window [tokens], as the recipe counts it."""
        letter = self.window_pattern[layer % len(self.window_pattern)].upper()
        if layer == self.depth - 1 or letter == "L":
            return self.max_seq_len
        return min(self.recipe_of.architecture.short_window(self.max_seq_len), self.max_seq_len)

    def visible_tokens(self, layer: int) -> int:
        """Tokens that a layer attends to, its own position included."""
        beyond = int(self.recipe_of.architecture.window_is_beyond_itself)
        return min(self.window(layer) + beyond, self.max_seq_len)


def count_parameters(shape: ModelShape) -> ScalingParams:
    """Parameters of a shape by group, and those that the training ratio counts.

    Per layer: query and output projections D x D, key and value D x D_kv, MLP D x 4D and 4D x D; a layer with
    value embeddings has a gate of 32 x n_kv_head (12 in July), counted to the matrices, and a table V x D_kv. Two
    scalars per layer; July's smear adds its gate and two more. `n_scaling_params = transformer_matrices + lm_head`,
    V padded to a multiple of 64.
    """
    architecture = shape.recipe_of.architecture
    width, layers = shape.model_dim, shape.depth
    kv_width = shape.kv_heads * shape.head_dim
    value_layers = len(shape.value_embedding_layers)
    table = shape.padded_vocab_size * width
    matrices = layers * (2 * width * width + 2 * width * kv_width + 8 * width * width)
    matrices += value_layers * architecture.value_gate_channels * shape.kv_heads
    value_embeds = value_layers * shape.padded_vocab_size * kv_width
    scalars = 2 * layers + architecture.smear_channels
    scalars += int(architecture.smear_channels > 0) + int(architecture.takes_back_the_middle)
    counts = ParamCounts(
        wte=table,
        value_embeds=value_embeds,
        lm_head=table,
        transformer_matrices=matrices,
        scalars=scalars,
        total=2 * table + value_embeds + matrices + scalars,
    )
    return ScalingParams(
        timestamp_utc=utc_now(),
        depth=layers,
        aspect_ratio=shape.aspect_ratio,
        head_dim=shape.head_dim,
        n_head=shape.n_head,
        n_kv_head=shape.kv_heads,
        max_seq_len=shape.max_seq_len,
        window_pattern=shape.window_pattern,
        vocab_size=shape.vocab_size,
        model_dim=width,
        param_counts=counts,
        n_scaling_params=matrices + table,
    )


def flops_per_token(shape: ModelShape) -> int:
    """Floating-point operations that training spends on a token, forward and backward [FLOP].

    6 per weight that is multiplied (tables are looked up, not multiplied), and 12 * n_head * head_dim * window per
    layer for attention. Source: Chowdhery et al. 2022 (arXiv:2204.02311), appendix B.
    """
    attention = sum(12 * shape.model_dim * shape.window(layer) for layer in range(shape.depth))
    weights = count_parameters(shape).n_scaling_params + shape.recipe_of.architecture.smear_channels
    return 6 * weights + attention


def share_of_reference(shape: ModelShape) -> float:
    """Scaling parameters over those of the same shape at depth 12, at which nanochat's numbers were found."""
    reference = shape.model_copy(update={"depth": REFERENCE_DEPTH, "n_kv_head": -1})
    if shape.n_kv_head != -1 and reference.n_head % shape.n_kv_head == 0:
        reference = reference.model_copy(update={"n_kv_head": shape.n_kv_head})
    return count_parameters(shape).n_scaling_params / count_parameters(reference).n_scaling_params


def automatic_total_batch_size(shape: ModelShape, device_batch_size: int) -> int:
    """Tokens per optimizer step that suit a model's size.

    `2^round(log2(2^19 * (n / n_12)^0.383))`, n the scaling parameters and n_12 those of the same shape at depth
    12; then rounded to whole forward passes of `device_batch_size` rows, one at least.

    Args:
        shape: the model's shape.
        device_batch_size: rows of `shape.max_seq_len` tokens in one forward pass.
    """
    tokens: int = 2 ** round(math.log2(REFERENCE_BATCH_TOKENS * share_of_reference(shape) ** BATCH_EXPONENT))
    forward_tokens = device_batch_size * shape.max_seq_len
    return max(1, round(tokens / forward_tokens)) * forward_tokens


def batch_scale(total_batch_size: int) -> float:
    """Factor on every rate for a batch of that many tokens: sqrt(tokens / 2^19)."""
    return math.sqrt(total_batch_size / REFERENCE_BATCH_TOKENS)


def decay_scale(shape: ModelShape, total_batch_size: int) -> float:
    """Factor on Muon's decay: sqrt(tokens / 2^19) * n_12 / n where the recipe scales it, else 1."""
    return batch_scale(total_batch_size) / share_of_reference(shape) if shape.recipe_of.scales_decay else 1.0


def resolve_total_batch_size(shape: ModelShape, device_batch_size: int, total_batch_size: int) -> int:
    """Tokens per step: the given number, or the automatic one for -1.

    Raises:
        ValueError: the given number is not a whole number of forward passes.
    """
    if total_batch_size == -1:
        return automatic_total_batch_size(shape, device_batch_size)
    forward_tokens = device_batch_size * shape.max_seq_len
    if total_batch_size < 1 or total_batch_size % forward_tokens:
        fitting = max(1, round(total_batch_size / forward_tokens)) * forward_tokens
        raise ValueError(
            f"total_batch_size={total_batch_size}: has to be a multiple of device_batch_size * max_seq_len = "
            f"{device_batch_size} * {shape.max_seq_len} = {forward_tokens} tokens. "
            f"Try LANE_B_TOTAL_BATCH_SIZE={fitting}, or another LANE_B_DEVICE_BATCH_SIZE"
        )
    return total_batch_size


def steps_for_ratio(ratio: float, n_scaling_params: int, total_batch_size: int) -> int:
    """Horizon [steps] of a ratio [tokens per scaling parameter]: `int(ratio * n_scaling_params) // total_batch_size`.

    Raises:
        ValueError: the ratio is not a positive number, or is less than one step.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"ratio {ratio}: has to be a positive number of tokens per scaling parameter")
    steps = int(min(ratio * n_scaling_params, sys.float_info.max)) // total_batch_size
    if steps < 1:
        raise ValueError(
            f"ratio {ratio:g} of {n_scaling_params:,} scaling parameters is {int(ratio * n_scaling_params):,} tokens, "
            f"less than one step of {total_batch_size:,}: raise the ratio or lower LANE_B_TOTAL_BATCH_SIZE"
        )
    return steps
