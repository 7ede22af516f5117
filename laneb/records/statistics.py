"""What was measured of a corpus."""

from __future__ import annotations

from laneb.records.base import Record, YesNo
from laneb.records.runs import ContextLoss


class CorrelationPoint(Record):
    """Norm of the lag covariance at one distance. All norms are dimensionless."""

    separation: int
    """Distance between the two tokens [tokens]."""
    frobenius_norm: float
    noise_floor: float | None = None
    """The norm that independent tokens of the same frequencies would show on average."""
    corrected_norm: float | None = None
    """The norm after the noise's mean is taken off its square."""
    within_document_norm: float | None = None
    """Over pairs in one document; None where no document is long enough."""
    within_document_corrected_norm: float | None = None
    operator_norm: float | None = None
    """Largest singular value; None where it was not asked for."""

    @property
    def above_noise(self) -> bool:
        """Whether the signal is larger than the noise: what is left of the squared norm is more than was taken off."""
        return (self.corrected_norm or 0.0) > (self.noise_floor or 0.0)


class EntropyPoint(Record):
    """Plug-in entropy of the next token at one context length."""

    context_len: int
    conditional_entropy_bits: float
    unique_context_hashes: int
    """Distinct contexts, counted exactly."""
    entropy_gap_bits: float | None
    """The entropy above the fitted entropy at infinite context; None without a fit."""


class EntropyEstimate(Record):
    """What can be known of the entropy of the next token at one context length [bits]."""

    context_len: int
    plug_in_bits: float
    """Low on average: the lower end of the bracket."""
    miller_madow_bits: float
    grassberger_bits: float
    held_out_bits: float
    """Cross-entropy of an n-gram predictor on other documents: the upper end of the bracket."""
    distinct_contexts: int
    samples_per_context: float
    singleton_share: float
    usable: bool
    """Whether the bracket is narrow enough for a number inside it to say something."""


class PowerLaw(Record):
    """A fitted decay: amplitude * x ** -exponent (+ offset)."""

    exponent: float
    amplitude: float
    offset: float = 0.0
    r2: float
    points: int


class ContextLossDecay(Record):
    """context_loss.json: how the finished baselines' loss falls with context, and what theory makes of it.

    gamma of arXiv:2602.07488: loss = amplitude * n ** -gamma + h_inf_bits, with n tokens of context.
    """

    timestamp_utc: str
    run_ids: tuple[str, ...]
    """The runs that were averaged: those that have the measurement."""
    fingerprints: tuple[str, ...]
    rows: int
    """Different rows of validation text behind every point, about."""
    curve: tuple[ContextLoss, ...]
    gamma: float | None = None
    gamma_interval: tuple[float, float] | None = None
    """95 %, of other rows of the same text: not of other models."""
    amplitude: float | None = None
    h_inf_bits: float | None = None
    r2: float | None = None
    beta: float
    """Decay exponent of the corpus's correlations, through the lags above the noise floor where there are three."""
    alpha: float | None = None
    """gamma / (2 beta); None where the loss doesn't fall with context, or the correlations don't decay."""
    reason: str = ""
    """Why there is no gamma, or no alpha."""


class DatasetStats(Record):
    """stats.json: how a corpus's correlations and entropies decay. Entropies are bits per token.

    What has a default was added to the file's first keys, so that a file made without it still reads.
    """

    timestamp_utc: str
    dataset_id: str
    tokenizer_id: str
    split: str
    num_docs_sampled: int
    num_tokens_sampled: int
    vocab_size: int

    corr_fit_min_sep: int
    corr_fit_max_sep: int
    corr_curve: tuple[CorrelationPoint, ...]
    corr_decay_exponent: float
    corr_decay_r2: float
    corr_decay_r2_warn_threshold: float
    corr_decay_r2_low_quality: YesNo

    entropy_fit_min_ctx: int
    entropy_fit_max_ctx: int
    """Top of the window that was used: lower than asked for after adaptive reductions."""
    entropy_num_points_requested: int
    entropy_num_points_used: int
    entropy_min_usable_points: int
    entropy_uniqueness_threshold: float
    entropy_skipped_data_starved: int
    """Context lengths of the window's grid that were skipped."""
    entropy_fit_adaptive_reductions: int
    entropy_curve: tuple[EntropyPoint, ...]
    entropy_decay_exponent: float | None
    entropy_decay_r2: float | None
    entropy_decay_r2_warn_threshold: float
    entropy_decay_r2_low_quality: YesNo
    entropy_h_inf_bits: float | None

    token_unigram_collision_prob: float
    fit_optuna_seed: int
    fit_optuna_trials: int

    corr_decay_amplitude: float | None = None
    """The fit's norm at lag 1: amplitude * lag ** -corr_decay_exponent."""
    corr_decay_exponent_interval: tuple[float, float] | None = None
    """95 % of the exponents of resampled blocks of documents; None with too few documents."""
    corr_lags_above_noise: int | None = None
    """Lags whose squared norm is more than twice the noise's."""
    corr_corrected_fit: PowerLaw | None = None
    """Through the corrected norms at those lags; None with fewer than three."""
    corr_within_document_fit: PowerLaw | None = None
    """The same over pairs in one document."""
    corr_document_floor: float | None = None
    """The within-document norm when each document's tokens are shuffled: what differing documents show at any lag."""
    corr_operator_fit: PowerLaw | None = None
    entropy_decay_amplitude: float | None = None
    """The fit's entropy above entropy_h_inf_bits at one token of context [bits]."""
    entropy_decay_exponent_interval: tuple[float, float] | None = None
    entropy_estimates: tuple[EntropyEstimate, ...] = ()
    """At every context length that was asked for or is fitted, the starved ones too."""
    entropy_bracket_tolerance: float | None = None
    """A context length is usable when its bracket is no wider than this share of its upper end."""
    entropy_usable_context_lens: tuple[int, ...] = ()
    entropy_usable_fit: PowerLaw | None = None
    """Through Grassberger's estimates at the usable lengths; None with fewer than three: the text is too short then to
    measure an entropy decay."""
    entropy_grassberger_fit: PowerLaw | None = None
    """Through Grassberger's estimates at the lengths of entropy_curve."""
    entropy_held_out_fit: PowerLaw | None = None
    """Through the held-out bounds at the lengths of entropy_curve."""
    interval_level: float | None = None
    interval_blocks: int | None = None
    """Blocks of documents that were resampled."""
