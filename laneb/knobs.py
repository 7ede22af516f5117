"""Every knob of an experiment: its name, unit, bounds, default and one-line meaning.

A section is a group of knobs that the same assets depend on. A knob that decides nothing about an outcome (where
files lie, when automation starts runs, where runs train) stands in `Places`, `Automation` or `EngineKnobs`, on which
no asset depends.

How the values of a profile, the environment and the stored overrides become one `Settings` is in `laneb.settings`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def knob(
    default: Any, env: str, meaning: str, *, on_host: Literal["path", "command"] | None = None, **bounds: Any
) -> Any:
    """One knob: its default, the environment variable that sets it, its meaning and pydantic's bounds.

    `on_host`: it names a place ("path": made absolute, so that it means the same in any folder) or a program and its
    arguments ("command") on the machine that runs, so that a web page may not set it.
    """
    return Field(default, description=meaning, json_schema_extra={"env": env, "on_host": on_host}, **bounds)


def _integers(value: object) -> object:
    """Split "41,42" (environment, launchpad); leave a TOML list as it is."""
    if isinstance(value, bool):
        raise ValueError("integers separated by commas")
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.lstrip("-").isdigit() for part in parts):
            raise ValueError("integers separated by commas, such as 41,42")
        return tuple(int(part) for part in parts)
    return value


LONGEST_HORIZON = 10**8
"""Steps: a hundred times the longest run that anybody trained; more is a slip of the finger."""


def _names(value: object) -> object:
    """Split "wandb,mlflow"; "none" is none."""
    if isinstance(value, str):
        names = [part.strip().lower() for part in value.split(",")]
        return tuple(dict.fromkeys(name for name in names if name not in ("", "none")))
    return value


Trackers = Annotated[tuple[Literal["wandb", "tensorboard", "mlflow"], ...], BeforeValidator(_names)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_integers)]
Horizons = Annotated[tuple[Annotated[int, Field(ge=1, le=LONGEST_HORIZON)], ...], BeforeValidator(_integers)]


class Section(BaseModel):
    """A group of knobs. Frozen; an unknown name is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True, defer_build=True
    )
    title: ClassVar[str]


class Places(Section):
    """Where files lie. An empty path stands for the place that its meaning names."""

    title: ClassVar[str] = "places"
    base_dir: str = knob("", "NANOCHAT_BASE_DIR", "root of all data; empty: ./data in the checkout")
    work_dir: str = knob("", "LANE_B_WORK_DIR", "W; empty: <base>/laneb/<experiment>; a folder or a bucket URL")
    log_dir: str = knob("", "LANE_B_LOG_DIR", "training logs; empty: W/logs")
    baseline_work_dir: str = knob("", "LANE_B_BASELINE_WORK_DIR", "B; empty: W/baseline")
    baseline_results_dir: str = knob("", "LANE_B_BASELINE_RESULTS_DIR", "R; empty: B/results")
    duckdb_path: str = knob("", "LANE_B_DUCKDB_PATH", "the DuckDB file; empty: <base>/laneb/lane_b.duckdb")
    schema_path: str = knob("", "LANE_B_SCHEMA_PATH", "CSV export; empty: W/lane_b_inference_schema.csv")
    scaling_json: str = knob("", "LANE_B_SCALING_JSON", "empty: W/scaling_params.json")
    scaling_txt: str = knob("", "LANE_B_SCALING_TXT", "empty: W/n_scaling_params.txt")
    stats_json: str = knob("", "LANE_B_STATS_JSON", "empty: W/stats.json")
    calib_json: str = knob("", "LANE_B_CALIB_JSON", "empty: W/calibration.json")
    calib_env: str = knob("", "LANE_B_CALIB_ENV", "empty: W/calibration.env")
    infer_json: str = knob("", "LANE_B_INFER_JSON", "empty: W/infer.json")
    manifest_csv: str = knob("", "LANE_B_MANIFEST_CSV", "empty: W/candidate_runs.csv")
    baseline_results_csv: str = knob("", "LANE_B_BASELINE_RESULTS_CSV", "empty: R/results.csv")
    baseline_threshold_json: str = knob("", "LANE_B_BASELINE_THRESHOLD_JSON", "empty: B/baseline_threshold.json")
    baseline_threshold_env: str = knob("", "LANE_B_BASELINE_THRESHOLD_ENV", "empty: B/baseline_threshold.env")


class DataKnobs(Section):
    """The text: where it comes from, how it is tokenized and split."""

    title: ClassVar[str] = "data"
    corpus: str = knob(
        "",
        "LANE_B_CORPUS",
        "file, folder or glob of text; empty: the embedded corpus",
        on_host="path",
    )
    dataset_id: str = knob("", "LANE_B_DATASET_ID", "name in all records; empty: from the corpus")
    text_column: str = knob("text", "LANE_B_TEXT_COLUMN", "column or key that holds the text", min_length=1)
    max_bytes: int = knob(-1, "LANE_B_CORPUS_MAX_BYTES", "UTF-8 bytes read at most [bytes]; -1: all", ge=-1)
    vocab_size: int = knob(32768, "LANE_B_VOCAB_SIZE", "tokens in the vocabulary, specials included", ge=257, le=2**20)
    tokenizer_bytes: int = knob(
        2_000_000_000, "LANE_B_TOKENIZER_BYTES", "text the tokenizer is trained on at most [bytes]", ge=1
    )
    validation_share: float = knob(
        0.05, "LANE_B_VALIDATION_SHARE", "share of documents held out, chosen by their hash", gt=0, lt=0.5
    )


class ModelKnobs(Section):
    """The shape of the GPT."""

    title: ClassVar[str] = "model"
    recipe: Literal["laneb", "nanochat-2026-02", "nanochat-2026-07"] = knob(
        "nanochat-2026-02", "LANE_B_RECIPE", "what the built-in trainer computes: nanochat's of that date, or our own"
    )
    depth: int = knob(12, "LANE_B_DEPTH", "layers", ge=1, le=256)
    aspect_ratio: int = knob(64, "LANE_B_ASPECT_RATIO", "width = depth * this, rounded up to heads", ge=1)
    head_dim: int = knob(128, "LANE_B_HEAD_DIM", "width of a head; even", ge=32, multiple_of=2)
    n_kv_head: int = knob(-1, "LANE_B_N_KV_HEAD", "key/value heads; -1: as many as heads", ge=-1)
    max_seq_len: int = knob(2048, "LANE_B_MAX_SEQ_LEN", "context [tokens]", ge=8)
    window_pattern: str = knob(
        "L", "LANE_B_WINDOW_PATTERN", "L full, S half context, tiled over layers", pattern="^[LSls]+$"
    )


class TrainingKnobs(Section):
    """How a run is trained, whatever its seed and horizon."""

    title: ClassVar[str] = "training"
    device: str = knob("auto", "LANE_B_DEVICE", "auto, cpu, cuda or mps", pattern="^(auto|cpu|mps|cuda)$")
    backend: Literal["builtin", "nanochat", "simulated"] = knob(
        "builtin", "LANE_B_BACKEND", "whose training loop runs; simulated: none, curves are drawn from a loss surface"
    )
    nanochat_dir: str = knob(
        "",
        "LANE_B_NANOCHAT_DIR",
        "nanochat checkout, for backend nanochat",
        on_host="path",
    )
    nanochat_python: str = knob(
        "", "LANE_B_NANOCHAT_PYTHON", "its interpreter; empty: its .venv, else this one", on_host="path"
    )
    simulated_surface: str = knob(
        "",
        "LANE_B_SIMULATED_SURFACE",
        "TOML of the loss surface, for backend simulated; empty: the default one",
        on_host="path",
    )
    checkout_flags: str = knob(
        "", "LANE_B_CHECKOUT_FLAGS", 'flags for a checkout as they are, such as "--fp8"', on_host="command"
    )
    launcher: Literal["process", "torchrun"] = knob(
        "process", "LANE_B_LAUNCHER", "how a run is started", on_host="command"
    )
    launcher_args: str = knob(
        "", "LANE_B_LAUNCHER_ARGS", "arguments for torchrun, such as --nproc-per-node=2", on_host="command"
    )
    threads: int = knob(0, "LANE_B_THREADS", "CPU threads of a run; 0: all cores", ge=0, le=1024)
    device_batch_size: int = knob(32, "LANE_B_DEVICE_BATCH_SIZE", "rows per forward pass and device", ge=1)
    total_batch_size: int = knob(-1, "LANE_B_TOTAL_BATCH_SIZE", "tokens per step; -1: automatic", ge=-1)
    eval_every: int = knob(100, "LANE_B_EVAL_EVERY", "steps between evaluations in the first two thirds", ge=1)
    eval_every_late: int = knob(0, "LANE_B_EVAL_EVERY_LATE", "steps between them in the last third; 0: a quarter", ge=0)
    eval_tokens: int = knob(10_485_760, "LANE_B_EVAL_TOKENS", "validation tokens per evaluation", ge=1)
    embedding_lr: float | None = knob(
        None, "LANE_B_EMBEDDING_LR", "AdamW rate of embeddings, before scaling; unset: the recipe's", gt=0
    )
    unembedding_lr: float | None = knob(
        None, "LANE_B_UNEMBEDDING_LR", "AdamW rate of the head, before scaling; unset: the recipe's", gt=0
    )
    matrix_lr: float | None = knob(
        None, "LANE_B_MATRIX_LR", "Muon rate of the matrices, before scaling; unset: the recipe's", gt=0
    )
    scalar_lr: float | None = knob(
        None, "LANE_B_SCALAR_LR", "AdamW rate of per-layer scalars, before scaling; unset: the recipe's", gt=0
    )
    weight_decay: float | None = knob(
        None, "LANE_B_WEIGHT_DECAY", "Muon's decay at step 0, before scaling; unset: the recipe's", ge=0
    )
    warmup_steps: int | None = knob(
        None, "LANE_B_WARMUP_STEPS", "steps that warm up; unset: the recipe's; -1: by the warmup ratio", ge=-1
    )
    warmup_ratio: float | None = knob(
        None, "LANE_B_WARMUP_RATIO", "share of the horizon that warms up; unset: warmup_steps counts", ge=0, lt=1
    )
    warmdown_ratio: float | None = knob(
        None, "LANE_B_WARMDOWN_RATIO", "share of the horizon that warms down; unset: the recipe's", ge=0, le=1
    )
    final_lr_share: float | None = knob(
        None, "LANE_B_FINAL_LR_SHARE", "rate at the end, as share of the peak; unset: the recipe's", ge=0, le=1
    )
    checkpoint_every: int = knob(250, "LANE_B_CHECKPOINT_EVERY", "steps between checkpoints", ge=1)
    keep_model: bool = knob(False, "LANE_B_KEEP_MODEL", "keep a finished run's weights; its checkpoints go otherwise")
    wandb_run_base: str = knob("dummy", "LANE_B_WANDB_RUN_BASE", "W&B run name prefix; dummy: off")


class BaselineKnobs(Section):
    """The runs that the threshold is taken from."""

    title: ClassVar[str] = "baseline"
    source: Literal["runs", "directory"] = knob(
        "runs", "LANE_B_BASELINE_SOURCE", "train them, or read a results directory made elsewhere"
    )
    seeds: Seeds = knob((41, 42, 43), "LANE_B_BASELINE_SEEDS", "seeds, separated by commas")
    num_iterations: int = knob(
        1500, "LANE_B_BASELINE_NUM_ITERATIONS", "horizon [steps]; -1: from the default ratio", ge=-1, le=LONGEST_HORIZON
    )
    default_ratio: float | None = knob(
        None,
        "LANE_B_DEFAULT_RATIO",
        "ratio of a fallback run and of the feasibility limit; unset: the recipe's or checkout's",
        gt=0,
    )

    @property
    def customary_ratio(self) -> float:
        """The default ratio, of settings that are resolved; where a checkout trains, `checkout_knobs` asks it first."""
        assert self.default_ratio is not None, "resolved settings have a default ratio"
        return self.default_ratio


class ThresholdKnobs(Section):
    """The loss that candidates have to reach."""

    title: ClassVar[str] = "threshold"
    target_metric: Literal["val_bpb"] = knob("val_bpb", "LANE_B_TARGET_METRIC", "metric that the threshold bounds")
    target_threshold: float | None = knob(
        None, "LANE_B_TARGET_THRESHOLD", "explicit threshold [bpb]; beats computed", gt=0
    )
    threshold_offset: float = knob(0.02, "LANE_B_THRESHOLD_OFFSET", "added to the baselines' median [bpb]", ge=0)
    min_success: int = knob(3, "LANE_B_BASELINE_MIN_SUCCESS", "good baselines needed", ge=1)


class CalibrationKnobs(Section):
    """The short finished runs that the loss curve is fitted to."""

    title: ClassVar[str] = "calibration"
    iterations: Horizons = knob((750, 1500, 2250), "LANE_B_CALIB_ITERS", "horizons [steps], separated by commas")
    seed: Seed = knob(42, "LANE_B_CALIB_SEED", "the seed, when there is one")
    seeds: Seeds | None = knob(None, "LANE_B_CALIB_SEEDS", "several seeds, separated by commas")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that are trained at every horizon."""
        return self.seeds or (self.seed,)


class StatisticsKnobs(Section):
    """The measurement of the corpus."""

    title: ClassVar[str] = "statistics"
    max_docs: int = knob(5000, "LANE_B_STATS_MAX_DOCS", "documents sampled; -1: all", ge=-1)
    max_tokens: int = knob(2_097_152, "LANE_B_STATS_MAX_TOKENS", "tokens sampled; -1: all", ge=-1)
    tokenizer_threads: int = knob(4, "LANE_B_STATS_TOKENIZER_THREADS", "threads that tokenize", ge=1, le=1024)
    corr_min_sep: int = knob(1, "LANE_B_CORR_MIN_SEP", "smallest lag [tokens]", ge=1)
    corr_max_sep: int = knob(64, "LANE_B_CORR_MAX_SEP", "largest lag [tokens]", ge=2)
    corr_operator_norm: bool = knob(False, "LANE_B_CORR_OPERATOR_NORM", "operator norm too, at log-spaced lags")
    ent_min_ctx: int = knob(1, "LANE_B_ENT_MIN_CTX", "shortest context [tokens]", ge=1)
    ent_max_ctx: int = knob(64, "LANE_B_ENT_MAX_CTX", "longest context [tokens]", ge=2)
    ent_num_points: int = knob(8, "LANE_B_ENT_NUM_POINTS", "context lengths asked for", ge=3)
    ent_min_usable_points: int = knob(4, "LANE_B_ENT_MIN_USABLE_POINTS", "context lengths needed for a fit", ge=3)
    ent_uniqueness_threshold: float = knob(
        0.98,
        "LANE_B_ENT_UNIQUENESS_THRESHOLD",
        "share of singleton contexts above which a length is starved",
        gt=0,
        le=1,
    )
    corr_r2_warn_threshold: float = knob(0.90, "LANE_B_CORR_R2_WARN_THRESHOLD", "R^2 below which a fit is weak", le=1)
    entropy_r2_warn_threshold: float = knob(
        0.90, "LANE_B_ENTROPY_R2_WARN_THRESHOLD", "R^2 below which a fit is weak", le=1
    )
    fit_optuna_seed: int = knob(42, "LANE_B_FIT_OPTUNA_SEED", "seed of the global search", ge=0)
    fit_optuna_trials: int = knob(200, "LANE_B_FIT_OPTUNA_TRIALS", "trials of the global search", ge=1)


class InferenceKnobs(Section):
    """From statistics and finished runs to a ratio."""

    title: ClassVar[str] = "inference"
    paper_mapping_id: Literal["paper_v1", "weighted_mean_v1", "corr_only_v1", "entropy_only_v1"] = knob(
        "paper_v1", "LANE_B_PAPER_MAPPING_ID", "how statistics give the exponent"
    )
    paper_mapping_notes: str = knob("", "LANE_B_PAPER_MAPPING_NOTES", "kept in infer.json")
    alpha_override: float | None = knob(None, "LANE_B_ALPHA_OVERRIDE", "use this exponent")
    alpha_min: float = knob(0.2, "LANE_B_ALPHA_MIN", "smallest plausible exponent", gt=0)
    alpha_max: float = knob(0.8, "LANE_B_ALPHA_MAX", "largest plausible exponent", gt=0)
    corr_weight: float = knob(1.0, "LANE_B_CORR_WEIGHT", "weight in weighted_mean_v1", ge=0)
    entropy_weight: float = knob(1.0, "LANE_B_ENTROPY_WEIGHT", "weight in weighted_mean_v1", ge=0)
    allow_low_quality_stats: bool = knob(
        False, "LANE_B_ALLOW_LOW_QUALITY_STATS", "use a plausible exponent despite a weak R^2"
    )
    alpha_fallback_mode: Literal["calibration", "baseline_assisted", "none"] = knob(
        "calibration", "LANE_B_ALPHA_FALLBACK_MODE", "where the exponent comes from when statistics can't give it"
    )
    baseline_alpha_grid_min: float = knob(0.1, "LANE_B_BASELINE_ALPHA_GRID_MIN", "search grid, low end", gt=0)
    baseline_alpha_grid_max: float = knob(0.8, "LANE_B_BASELINE_ALPHA_GRID_MAX", "search grid, high end", gt=0)
    baseline_alpha_grid_step: float = knob(0.01, "LANE_B_BASELINE_ALPHA_GRID_STEP", "search grid, step", gt=0)
    baseline_alpha_min_r2: float = knob(0.97, "LANE_B_BASELINE_ALPHA_MIN_R2", "median R^2 needed", le=1)
    unreachable_mult: float = knob(10.0, "LANE_B_UNREACHABLE_MULT", "feasible up to this times the default ratio", gt=0)
    allow_unreachable: bool = knob(False, "LANE_B_ALLOW_UNREACHABLE", "train candidates beyond the feasible")
    reach_probability: float = knob(
        0.9, "LANE_B_REACH_PROBABILITY", "probability that a new run reaches the threshold", gt=0.5, lt=1
    )
    confirmation_rule: Literal["factor", "reach"] = knob(
        "factor",
        "LANE_B_CONFIRMATION_RULE",
        "confirm at 1.05 times the ratio, or where a new run reaches the threshold",
    )
    solve_method: Literal["finals", "fixed_alpha"] = knob(
        "finals", "LANE_B_SOLVE_METHOD", "infer_ratio on finished runs, or the closed form at a fixed exponent"
    )


class CandidateKnobs(Section):
    """The runs that try the inferred ratio, and how their time to target is read."""

    title: ClassVar[str] = "candidates"
    run_seeds: Seeds = knob((41, 42), "LANE_B_RUN_SEEDS", "seeds, separated by commas")
    skip_existing: bool = knob(True, "LANE_B_SKIP_EXISTING", "keep a schema row that has the same key")
    time_to_target_extrapolation: Literal["linear_recent_eval", "power_law_recent_eval"] = knob(
        "linear_recent_eval", "LANE_B_TIME_TO_TARGET_EXTRAPOLATION", "when the target was not reached"
    )
    time_to_target_power_law_min_points: int = knob(
        3, "LANE_B_TIME_TO_TARGET_POWER_LAW_MIN_POINTS", "points needed", ge=3
    )
    time_to_target_power_law_max_points: int = knob(
        5, "LANE_B_TIME_TO_TARGET_POWER_LAW_MAX_POINTS", "points used", ge=3
    )
    time_to_target_power_law_fit_r2_min: float = knob(
        0.0, "LANE_B_TIME_TO_TARGET_POWER_LAW_FIT_R2_MIN", "smallest R^2 accepted", le=1
    )

    primary_mode: Literal["confirmation", "inferred"] = knob(
        "confirmation", "LANE_B_PRIMARY_MODE", "mode that is tested first, at the full level"
    )
    required_reach: float = knob(
        0.25, "LANE_B_REQUIRED_REACH", "share of a mode's runs that has to reach the threshold", gt=0, lt=1
    )
    smallest_gain: float = knob(
        0.01, "LANE_B_SMALLEST_GAIN", "smallest gain that matters, as a share of the baseline's time", gt=0, lt=1
    )


class Automation(Section):
    """What starts by itself in Dagster."""

    title: ClassVar[str] = "automation"
    automation: Literal["all", "analysis", "off"] = knob("all", "LANE_B_AUTOMATION", "what reruns when inputs change")


class EngineKnobs(Section):
    """Where runs train, as opposed to what they compute: no asset depends on it. It names programs, so no launchpad
    sets it."""

    title: ClassVar[str] = "engine"
    engine: Literal["local", "slurm", "ray", "command"] = knob("local", "LANE_B_ENGINE", "what starts training runs")
    args: str = knob("", "LANE_B_ENGINE_ARGS", "its arguments: sbatch's; num_gpus=8 for Ray; the command's template")
    baseline_args: str = knob("", "LANE_B_ENGINE_BASELINE_ARGS", "further arguments for baselines")
    calibration_args: str = knob("", "LANE_B_ENGINE_CALIBRATION_ARGS", "further arguments for calibration runs")
    candidate_args: str = knob("", "LANE_B_ENGINE_CANDIDATE_ARGS", "further arguments for candidates")
    address: str = knob("", "LANE_B_ENGINE_ADDRESS", "Ray's dashboard; empty: http://127.0.0.1:8265")
    state_command: str = knob("", "LANE_B_ENGINE_STATE", "template, for command: exits 0 while the job {name} is there")
    cancel_command: str = knob("", "LANE_B_ENGINE_CANCEL", "template, for command: cancels the job {name}")
    python: str = knob("", "LANE_B_ENGINE_PYTHON", "interpreter that has laneb on a node; empty: this one's path")
    scratch: str = knob("", "LANE_B_SCRATCH", "fast folder on a node; empty: its folder for temporary files")
    trackers: Trackers = knob(
        (), "LANE_B_TRACKERS", "who else is told a run's numbers: wandb, tensorboard, mlflow, separated by commas"
    )
    node_device: Literal["", "cpu", "cuda", "mps"] = knob("", "LANE_B_ENGINE_DEVICE", "the nodes', for an estimate")
    node_flops: float = knob(0.0, "LANE_B_ENGINE_FLOPS", "what training reaches on a node [FLOP/s], likewise", ge=0)
    lease_seconds: float = knob(
        120.0, "LANE_B_LEASE_SECONDS", "silence after which a holder of a run counts as gone [s]", ge=1
    )
    parallel_runs: int = knob(1, "LANE_B_PARALLEL_RUNS", "runs that laneb run trains side by side", ge=1, le=1000)

    def arguments(self, role: str = "") -> str:
        """The engine's arguments for runs of a role: baseline, calibration or candidate."""
        return f"{self.args} {getattr(self, f'{role}_args', '')}".strip()


EXPERIMENT_SECTIONS: tuple[type[Section], ...] = (
    DataKnobs,
    ModelKnobs,
    TrainingKnobs,
    BaselineKnobs,
    ThresholdKnobs,
    CalibrationKnobs,
    StatisticsKnobs,
    InferenceKnobs,
    CandidateKnobs,
)
"""The sections that decide an outcome: each is an asset of its own."""

SECTIONS: tuple[type[Section], ...] = (Places, *EXPERIMENT_SECTIONS, Automation, EngineKnobs)
