"""A run's spec: everything that decides its outcome, and so its identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from laneb.corpus.checkout import CheckoutError, find_checkout
from laneb.corpus.checkout_data import read_checkout_data
from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.model.recipes import HOUSE, recipe_named
from laneb.model.scaling import (
    ModelShape,
    count_parameters,
    flops_per_token,
    resolve_total_batch_size,
    steps_for_ratio,
)
from laneb.recipe_knobs import resolved
from laneb.records.base import PlainName, canonical_hash
from laneb.records.corpus import TokenShards
from laneb.records.scaling import ScalingParams
from laneb.training import hardware
from laneb.training.checkout_knobs import CheckoutKnobs, checkout_knobs
from laneb.training.launch import processes_of, refuse_on_cpu, torchrun_arguments
from laneb.training.schedule import Schedule, check_horizon, evaluation_steps
from laneb.training.surface import Surface, read_surface

ARITHMETIC = 1
"""Raised whenever the training code changes what a run computes, so that no older result passes for the new one."""

RATES = ("embedding_lr", "unembedding_lr", "matrix_lr", "scalar_lr", "weight_decay")

BFLOAT16_MIN_WIDTH = 128
"""Narrower models lose more to the casts than the CPU's bfloat16 units save."""

COMPILE_MIN_PASS_FLOPS = 2e11
"""On a CPU, compiling takes a minute and saves an eighth: worth it only where a forward pass takes seconds."""


class RunSpec(BaseModel):
    """One training run. Equal fingerprints train once and share one directory.

    The threshold and the requested ratio are not in it: the time to a target is read from the stored curve, so that a
    moved threshold retrains nothing. Nor is the number of our own processes: they share the same global batches in the
    same order, and change only the rounding of the sums.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    places: ClassVar[frozenset[str]] = frozenset(
        {"shards_path", "nanochat_dir", "nanochat_python", "nanochat_told", "nanochat_arguments", "nanochat_launcher",
         "checkpoint_every", "wandb_run_base", "trackers", "keep_model", "intent", "attempt"}
    )  # fmt: skip
    """Fields that say where or how often, not what: left out of the fingerprint."""
    newer: ClassVar[frozenset[str]] = frozenset(
        {"recipe_name", "surface", "warmup_steps", "nanochat_flags", "nanochat_world_size"}
    )
    """Fields that older specs lack. Their default is what those meant, and is left out of the fingerprint, so that runs
    that were finished then stay recognised."""

    arithmetic: int = ARITHMETIC
    backend: Literal["builtin", "nanochat", "simulated"] = "builtin"
    recipe_name: str = HOUSE
    """What the built-in trainer computes: see `laneb.model.recipes`."""
    depth: int
    aspect_ratio: int
    head_dim: int
    n_kv_head: int
    max_seq_len: int
    window_pattern: str
    vocab_size: int
    corpus_fingerprint: PlainName
    tokenizer_id: str
    seed: int = Field(ge=0, lt=2**31)
    steps: int = Field(ge=1)
    device_batch_size: int = Field(ge=1)
    total_batch_size: int = Field(ge=1)
    eval_every: int = Field(ge=1)
    eval_every_late: int = Field(ge=1)
    eval_tokens: int = Field(ge=1)
    embedding_lr: float = Field(gt=0)
    unembedding_lr: float = Field(gt=0)
    matrix_lr: float = Field(gt=0)
    scalar_lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_ratio: float = Field(ge=0, lt=1)
    warmup_steps: int = Field(default=-1, ge=-1)
    """Updates that warm up, whatever the horizon; -1: a share of it, `warmup_ratio`."""
    warmdown_ratio: float = Field(ge=0, le=1)
    final_lr_share: float = Field(ge=0, le=1)
    device: Literal["auto", "cpu", "cuda", "mps"]
    """auto, here and below: as the machine has it that trains. Only specs for another machine say so."""
    dtype: Literal["auto", "float32", "bfloat16"]
    compile: bool | Literal["auto"]
    threads: int = Field(ge=0)
    """CPU threads; 0: as many as cores."""
    intent: tuple[str, str] | None = None
    """Fingerprint and recipe of the spec that this one was resolved from, on the machine that trains."""
    shards_path: str
    checkpoint_every: int = Field(ge=1)
    wandb_run_base: str = "dummy"
    trackers: tuple[str, ...] = ()
    keep_model: bool = False
    attempt: int = Field(default=1, ge=1)
    """Above 1 where the run is repeated on purpose, or after a NaN: results of earlier attempts don't count as its."""
    nanochat_dir: str = ""
    nanochat_python: str = ""
    nanochat_code: str = ""
    """Fingerprint of the code of the checkout that trains it: another commit, or a changed file, is another run."""
    nanochat_flags: dict[str, bool | int | float | str | None] = {}
    """Its script's flags that decide the outcome and that no other field stands for, as given or by their defaults."""
    nanochat_told: tuple[str, ...] | None = None
    """Fields that somebody set, which its script is told; the others are its own defaults. None: it is told all."""
    nanochat_arguments: tuple[str, ...] = ()
    """Further words of its command line, as they are."""
    nanochat_launcher: tuple[str, ...] = ()
    """Arguments of torchrun, which starts its script; none: one process without torchrun."""
    nanochat_world_size: int = Field(default=1, ge=1)
    """Processes that train it: unlike with us, they decide which rows are read and validated on."""
    surface: Surface | None = None
    """The loss surface that a simulated run's curve is drawn from; None for every run that is trained."""

    @property
    def fingerprint(self) -> str:
        """Identity of the run: sha256 (16 hex digits) of what decides its outcome."""
        return self.intent[0] if self.intent else canonical_hash(self._identity())

    @property
    def recipe(self) -> str:
        """Identity of all that decides the outcome but seed and horizon: runs of one recipe can be compared."""
        return self.intent[1] if self.intent else canonical_hash(self._identity("seed", "steps"))

    def _identity(self, *but: str) -> dict[str, Any]:
        absent = {name for name in self.newer if getattr(self, name) == type(self).model_fields[name].default}
        if self.backend == "nanochat":
            # What a checkout computes is its code's to say.
            absent.add("recipe_name")
        if self.device == "cuda":
            # Threads only feed a GPU; on a CPU they change the order of sums.
            absent.add("threads")
        return self.model_dump(mode="json", exclude={*self.places, *absent, *but})

    def resolved_here(self) -> RunSpec:
        """With what the hardware decides as this machine has it, under the same identity; itself if nothing is left.

        Its recipe holds the number format that this machine chose: runs in two formats are the same wish, but don't
        compare.
        """
        if "auto" not in (self.device, self.dtype, self.compile) and self.threads:
            return self
        device = hardware.resolve_device(self.device)
        own = {
            "device": device,
            "dtype": choose_dtype(self.shape, device) if self.dtype == "auto" else self.dtype,
            "compile": choose_compile(self.shape, device, self.device_batch_size)
            if self.compile == "auto"
            else self.compile,
            "threads": self.threads or hardware.usable_cores(),
        }
        recipe = canonical_hash([self.recipe, own["dtype"]])
        return self.model_copy(update={**own, "intent": (self.fingerprint, recipe)})

    @property
    def run_id(self) -> str:
        """Readable name; free of any role, since a calibration run can be a baseline too."""
        return f"d{self.depth}_i{self.steps}_s{self.seed}"

    @property
    def shape(self) -> ModelShape:
        """The model's shape."""
        sizes = {name: getattr(self, name) for name in ModelShape.model_fields if name != "recipe"}
        return ModelShape(recipe=self.recipe_name, **sizes)

    @property
    def rates(self) -> dict[str, float]:
        """Rates and decay before any scaling, by the names of their knobs."""
        return {name: getattr(self, name) for name in RATES}

    @property
    def n_scaling_params(self) -> int:
        """Parameters that the ratio counts."""
        return count_parameters(self.shape).n_scaling_params

    @property
    def realised_ratio(self) -> float:
        """Training tokens per scaling parameter."""
        return self.steps * self.total_batch_size / self.n_scaling_params

    @property
    def accumulation_steps(self) -> int:
        """Forward passes of `device_batch_size` rows that make one update."""
        return self.total_batch_size // (self.device_batch_size * self.max_seq_len)

    @property
    def schedule(self) -> Schedule:
        """How rates, momentum and decay change over the run."""
        warmup = round(self.warmup_ratio * self.steps) if self.warmup_steps == -1 else self.warmup_steps
        warmdown = round(self.warmdown_ratio * self.steps)
        return Schedule(self.steps, warmup, warmdown, self.final_lr_share, recipe_named(self.recipe_name))

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """Steps at which the run is evaluated."""
        return evaluation_steps(self.steps, self.eval_every, self.eval_every_late)

    def to_json(self) -> str:
        """The text of `spec.json`."""
        return self.model_dump_json(indent=2) + "\n"


def spec_for(
    shards: TokenShards,
    scaling: ScalingParams,
    model: ModelKnobs,
    training: TrainingKnobs,
    *,
    seed: int,
    steps: int,
    origins: Mapping[str, str] | None = None,
    elsewhere: bool = False,
) -> RunSpec:
    """The spec of a run of `steps` updates with `seed`, every automatic choice fixed by rule, none by timing.

    Args:
        origins: where each knob came from, which tells a checkout's trainer those that nobody set: they are the
            checkout's own. None: what the two sections were made with counts as set.
        elsewhere: another machine trains it, and decides what its hardware decides.

    Raises:
        ValueError: the vocabulary of shards and model differ, the batch is not whole forward passes, the horizon is
            not positive, or there is no checkout where one is to train, or it can't be told the knobs.
    """
    spec = _spec(shards, scaling, trained_with(model, training, origins), seed=seed, steps=steps, elsewhere=elsewhere)
    return spec if elsewhere else spec.resolved_here().model_copy(update={"intent": None})


def _spec(
    shards: TokenShards, scaling: ScalingParams, knobs: CheckoutKnobs, *, seed: int, steps: int, elsewhere: bool
) -> RunSpec:
    """A spec that leaves to the machine that trains what its hardware decides."""
    model, training = knobs.model, knobs.training
    if scaling.vocab_size != shards.vocab_size:
        raise ValueError(
            f"the model's vocabulary has {scaling.vocab_size} tokens and that of the shards at {shards.path} has "
            f"{shards.vocab_size}: materialize tokenizer, token_shards and scaling_params again"
        )
    shape, training = ModelShape.of(model, shards.vocab_size), resolved(training, model.recipe)
    late = training.eval_every_late or max(1, training.eval_every // 4)
    check_horizon(steps, training.eval_every, late)
    simulated = training.backend == "simulated"
    device = "cpu" if simulated else training.device
    total = _total_batch_size(shape, training)
    same_name = RunSpec.model_fields.keys() & TrainingKnobs.model_fields.keys()
    values: dict[str, Any] = {name: getattr(training, name) for name in same_name} | {
        **shape.model_dump(exclude={"recipe"}),
        "recipe_name": model.recipe,
        "corpus_fingerprint": shards.corpus_fingerprint,
        "tokenizer_id": shards.tokenizer_id,
        "seed": seed,
        "steps": steps,
        "total_batch_size": total,
        "eval_every_late": late,
        "device": device,
        "dtype": "float32" if simulated else "auto",
        "compile": False if simulated else "auto",
        "threads": 1 if simulated else training.threads,
        "shards_path": shards.path,
        "surface": surface_of(training),
    }
    if training.backend == "nanochat":
        values |= _of_checkout(knobs, device if elsewhere else hardware.resolve_device(device))
        data = read_checkout_data(shards.path)
        # The shards are read by the statistics alone, which may read less than the checkout does.
        values["corpus_fingerprint"] = data.fingerprint if data else shards.corpus_fingerprint
    return RunSpec(**values)


def _of_checkout(knobs: CheckoutKnobs, device: str) -> dict[str, Any]:
    """The fields that only a checkout's runs have."""
    launcher = torchrun_arguments(knobs.training)
    torchrun = knobs.training.launcher == "torchrun"
    if torchrun:
        refuse_on_cpu(device)
    return {
        "nanochat_code": checkout_code(knobs.training),
        "nanochat_flags": dict(knobs.flags),
        "nanochat_told": knobs.told,
        "nanochat_arguments": knobs.arguments,
        "nanochat_launcher": launcher or ("--standalone",) if torchrun else (),
        "nanochat_world_size": processes_of(launcher) if torchrun else 1,
    }


def _total_batch_size(shape: ModelShape, training: TrainingKnobs) -> int:
    """Tokens per step: whole forward passes of every process of a checkout, of one of ours."""
    if training.backend != "nanochat":
        return resolve_total_batch_size(shape, training.device_batch_size, training.total_batch_size)
    rows = training.device_batch_size * processes_of(torchrun_arguments(training))
    total = resolve_total_batch_size(shape, rows, training.total_batch_size)
    if training.total_batch_size == -1 and total & (total - 1):
        raise CheckoutError(
            f"LANE_B_DEVICE_BATCH_SIZE={training.device_batch_size}: nanochat's automatic batch is a power of two, "
            f"which {rows} rows of {shape.max_seq_len} tokens don't divide. Set it to a power of two, or set "
            f"LANE_B_TOTAL_BATCH_SIZE={total}"
        )
    return total


def checkout_code(training: TrainingKnobs) -> str:
    """Fingerprint of the code of the checkout that trains; empty where training is ours.

    Raises:
        CheckoutError: there is no checkout.
    """
    if training.backend != "nanochat":
        return ""
    return find_checkout(training.nanochat_dir, training.nanochat_python).code_fingerprint


def surface_of(training: TrainingKnobs) -> Surface | None:
    """The loss surface that simulated runs are drawn from; None where runs are trained.

    Raises:
        ValueError: its file can't be used.
    """
    return read_surface(training.simulated_surface) if training.backend == "simulated" else None


def trainer_fingerprint(training: TrainingKnobs) -> str:
    """Identity of what trains beside the knobs: a checkout's code, a surface's numbers; empty for our own loop.

    Raises:
        ValueError: there is no checkout, or no surface, where one is named.
    """
    surface = surface_of(training)
    return checkout_code(training) if surface is None else canonical_hash(surface.model_dump(mode="json"))


def lane_spec(
    shards: TokenShards,
    model: ModelKnobs,
    training: TrainingKnobs,
    *,
    seed: int,
    steps: int = -1,
    ratio: float | None = None,
    origins: Mapping[str, str] | None = None,
    elsewhere: bool = False,
) -> RunSpec:
    """The spec of a lane's run: of a horizon of `steps`, or with -1 of the one at which a ratio is realised.

    Raises:
        ValueError: as `spec_for`; or neither a horizon nor a ratio is given.
    """
    knobs = trained_with(model, training, origins)
    shape = ModelShape.of(knobs.model, shards.vocab_size)
    scaling = count_parameters(shape)
    if steps == -1 and ratio is not None:
        steps = steps_for_ratio(ratio, scaling.n_scaling_params, _total_batch_size(shape, knobs.training))
    spec = _spec(shards, scaling, knobs, seed=seed, steps=steps, elsewhere=elsewhere)
    return spec if elsewhere else spec.resolved_here().model_copy(update={"intent": None})


def trained_with(model: ModelKnobs, training: TrainingKnobs, origins: Mapping[str, str] | None = None) -> CheckoutKnobs:
    """The knobs that runs have: as they are, or where a checkout trains, its own defaults for those that nobody set.

    Raises:
        CheckoutError: there is no checkout, or it can't be told the knobs.
    """
    if training.backend == "nanochat":
        return checkout_knobs(model, training, origins)
    return CheckoutKnobs(model, training)


def choose_dtype(shape: ModelShape, device: str) -> str:
    """Number format of the forward and backward pass; weights and their updates are always float32."""
    if device == "cuda":
        capability = hardware.cuda_capability()
        return "bfloat16" if capability is not None and capability >= 8 else "float32"
    wide = shape.model_dim >= BFLOAT16_MIN_WIDTH
    return "bfloat16" if device == "cpu" and wide and hardware.cpu_multiplies_bfloat16() else "float32"


def choose_compile(shape: ModelShape, device: str, device_batch_size: int) -> bool:
    """Whether torch.compile is used. The horizon has no say: runs that are compared take the same time per step."""
    if device == "cuda":
        return True
    forward_flops = flops_per_token(shape) * device_batch_size * shape.max_seq_len
    return device == "cpu" and forward_flops >= COMPILE_MIN_PASS_FLOPS and hardware.can_compile_for_cpu()
