"""Training runs and what is read from them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from laneb.records.base import PlainName, Record

RunStatus = Literal["ok", "failed", "failed_nan"]


class ValidationPoint(NamedTuple):
    """One evaluation: after `step` optimizer steps and `seconds` of training time (evaluation left out)."""

    step: int
    seconds: float
    bpb: float


class ContextLoss(NamedTuple):
    """Mean loss of the predictions made from `first` to `last` tokens of context, in bits per token.

    `error` is its standard error over rows, less what the predictions of a row have in common: a harder row lifts the
    whole curve and leaves its shape.
    """

    first: int
    last: int
    bits: float
    error: float


class ContextLosses(Record):
    """A finished run's loss by the length of context, on validation rows that each lie in one document."""

    rows: int
    """Rows evaluated, as many predictions at each length."""
    rows_available: int
    """Rows that the documents hold. The seed decides which of them are evaluated."""
    curve: tuple[ContextLoss, ...]
    """Lengths 1 to `max_seq_len`, four bins an octave."""


class MadeFor(Record):
    """What a candidate was trained for: the ratio that was asked for, and the threshold that it was inferred from."""

    requested_ratio: float
    threshold: float


class RunResult(Record):
    """One finished training run. `steps * total_batch_size` are the tokens it trained on."""

    timestamp_utc: str
    run_id: PlainName
    fingerprint: PlainName
    recipe: str = ""
    """Identity of all that decides the outcome but seed and horizon: runs of one recipe can be compared."""
    backend: str
    seed: int
    depth: int
    max_seq_len: int
    device_batch_size: int
    total_batch_size: int
    n_scaling_params: int
    steps: int
    warmdown_ratio: float
    warmdown_shape: str = "linear"
    status: RunStatus
    val_curve: tuple[ValidationPoint, ...]
    """In order of step; the last is at the horizon when the run finished."""
    context_losses: ContextLosses | None = None
    """None where it was not measured: another backend's run, a run that failed, or no document that is long enough."""
    final_train_loss: float | None
    tok_per_sec_median: float | None
    dt_median_ms: float | None
    total_training_time_sec: float | None
    wall_time_sec: float | None
    peak_mem_mib: float | None
    device: str
    git_commit: str = ""
    log_path: str = ""
    log_checksum: str = ""
    """XXH3 (128 bits, hex) of the log at `log_path`; empty for results from before checksums, and imported ones."""
    attempt: int = 1
    """Above 1 where the run was repeated: on purpose, to time it again, or after a NaN."""
    made_for: MadeFor | None = None
    """Of a run that is kept in a candidate's role; the run itself knows nothing of it."""

    volatile = frozenset(
        {"timestamp_utc", "tok_per_sec_median", "dt_median_ms", "total_training_time_sec", "wall_time_sec",
         "peak_mem_mib", "device", "git_commit", "log_path", "log_checksum", "attempt"}
    )  # fmt: skip

    @property
    def recipe_known(self) -> bool:
        """Whether the recipe is that of all it was trained with: an imported one holds what its row and log tell."""
        return bool(self.recipe) and self.backend != "imported"

    @property
    def tokens(self) -> int:
        """Tokens trained on."""
        return self.steps * self.total_batch_size

    @property
    def realised_ratio(self) -> float:
        """Training tokens per scaling parameter."""
        return self.tokens / self.n_scaling_params

    @property
    def min_val_bpb(self) -> float | None:
        """Lowest validation bpb, or None when nothing was evaluated."""
        return min((point.bpb for point in self.val_curve), default=None)

    @property
    def final_val_bpb(self) -> float | None:
        """Validation bpb at the last evaluation."""
        return self.val_curve[-1].bpb if self.val_curve else None
