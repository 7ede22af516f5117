"""Which rows a run trains on, and which it is evaluated on, as its recipe has it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from laneb.model.recipes import recipe_named
from laneb.training.data import TrainingRows, validation_batches, validation_rows
from laneb.training.packing import PackedRows, packed_validation, row_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from laneb.corpus.shards import Shards
    from laneb.training.spec import RunSpec


class TrainingSource(Protocol):
    """Rows as a function of their place in the run."""

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows `first` to `first + count - 1`: int64 [count, T + 1]."""

    def epoch(self, first: int) -> int:
        """Epoch of a row, from 0."""


class ValidationSource(Protocol):
    """The same rows at each evaluation, shared by the processes of a run."""

    def __call__(self, *, rank: int, world: int) -> Iterator[NDArray[np.int64]]:
        """Batches of rows, int64 [<= B, T + 1]: every `world`-th from the `rank`-th on."""


class Rows(NamedTuple):
    """What a run reads."""

    training: TrainingSource
    validation: ValidationSource


def rows_of(spec: RunSpec, shards: Shards) -> Rows:
    """The rows of a run.

    Raises:
        ValueError: the shards are too short for one row, or hold no validation text.
    """
    return {"packed": _packed, "shuffled": _shuffled}[recipe_named(spec.recipe_name).rows](spec, shards)


def _packed(spec: RunSpec, shards: Shards) -> Rows:
    training = PackedRows(shards.train.tokens, shards.train.document_starts, spec.max_seq_len)
    held_out = packed_validation(
        shards.val.tokens,
        shards.val.document_starts,
        spec.max_seq_len,
        eval_tokens=spec.eval_tokens,
        batch_rows=spec.device_batch_size,
    )
    return Rows(training, partial(row_batches, held_out, spec.device_batch_size))


def _shuffled(spec: RunSpec, shards: Shards) -> Rows:
    tokens, length = shards.val.tokens, spec.max_seq_len
    starts = validation_rows(tokens, length, spec.eval_tokens)
    training = TrainingRows(shards.train.tokens, length, spec.seed)
    return Rows(training, partial(validation_batches, tokens, length, starts, spec.device_batch_size))
