"""About how long a run takes and how much memory it holds, before it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from laneb.model.scaling import count_parameters, flops_per_token
from laneb.training import hardware
from laneb.training.schedule import evaluation_count

if TYPE_CHECKING:
    from laneb.knobs import EngineKnobs
    from laneb.training.spec import RunSpec

FLOPS_PER_CORE = {"float32": 40e9, "bfloat16": 80e9}
"""What training reaches on a server CPU's core with AVX-512, of small models; half as much elsewhere."""

FLOPS_PER_ACCELERATOR = {"cuda": 350e12, "mps": 2e12}
"""Of one H100 at 35 % of its peak, and of an Apple laptop."""

CORES_EXPONENT = 0.8
COMPILED_GAIN = 1.3
SECONDS_PER_LAYER = 0.0015
"""Time that a layer's forward and backward pass takes on a CPU, eagerly, however few its tokens."""

START_SECONDS = {"cpu": 3.0, "cuda": 12.0, "mps": 6.0}
COMPILE_SECONDS = 40.0
PROCESS_BYTES = {"cpu": 330 * 2**20, "cuda": 600 * 2**20, "mps": 400 * 2**20}
SIMULATED_SECONDS, SIMULATED_BYTES = 0.5, 60 * 2**20
"""Of a run that is drawn from a loss surface."""

ACTIVATIONS_PER_LAYER = 34
"""Tensors of positions x width that a layer keeps for its backward pass, attention and MLP together."""


class Cost(NamedTuple):
    """An estimate, right to about a factor of two; of the checkpoint to a hundredth."""

    seconds: float
    memory_bytes: int
    checkpoint_bytes: int
    """One checkpoint: a run keeps two while it trains, its weights alone (or nothing) once it has its result."""
    weights_bytes: int


def estimate(spec: RunSpec, node: EngineKnobs | None = None) -> Cost:
    """Seconds on this kind of device, one process, and bytes at the peak, of a whole run.

    Args:
        spec: the run.
        node: where an engine trains it, what is declared of its nodes: their device, and the rate that training
            reaches there [FLOP/s].

    A checkpoint holds weights, Adam's two moments and Muon's one, float32 all.

    Time: the operations of training and evaluation over an assumed rate, and a start-up. Memory: weights, gradients,
    optimizer state, one forward pass's activations and a chunk of logits.
    """
    if spec.device == "auto":
        spec = _on_a_node(spec, "" if node is None else node.node_device)
    spec = spec.resolved_here()
    if spec.surface is not None:
        paced = spec.surface.pace * spec.surface.seconds_per_step * spec.steps
        return Cost(SIMULATED_SECONDS + paced, SIMULATED_BYTES, 0, 0)
    counts = count_parameters(spec.shape).param_counts
    adam = counts.total - counts.transformer_matrices
    checkpoint = 4 * (counts.total + 2 * adam + counts.transformer_matrices)
    rate = (node.node_flops if node is not None else 0.0) or _rate(spec)
    return Cost(_seconds(spec, rate), _memory_bytes(spec), checkpoint, 4 * counts.total)


def estimated_for(spec: RunSpec, node: EngineKnobs) -> str:
    """Whose hardware `estimate` speaks of where an engine trains, in words."""
    device = node.node_device or "cuda" if spec.device == "auto" else spec.device
    if node.node_flops:
        return f"nodes as declared: {device} at {node.node_flops:.3g} FLOP/s"
    assumed = "one H100 at 35 % of its peak" if device == "cuda" else f"{device} as on this machine"
    return f"nodes with {assumed}: say what yours reach with LANE_B_ENGINE_DEVICE and LANE_B_ENGINE_FLOPS"


def _on_a_node(spec: RunSpec, declared: str) -> RunSpec:
    """A run as a node would train it: people have other machines for their GPUs, unless they declare something else."""
    device = declared or "cuda"
    dtype = "bfloat16" if device == "cuda" else "float32"
    threads = spec.threads or (hardware.usable_cores() if device == "cpu" else 1)
    return spec.model_copy(update={"device": device, "dtype": dtype, "compile": device == "cuda", "threads": threads})


def _seconds(spec: RunSpec, rate: float) -> float:
    flops = flops_per_token(spec.shape)
    overhead = 0.0
    if spec.device == "cpu" and not spec.compile:
        overhead = SECONDS_PER_LAYER * spec.depth * spec.accumulation_steps
    step = flops * spec.total_batch_size / rate + overhead
    # The loss by context costs one more.
    evaluations = (
        (evaluation_count(spec.steps, spec.eval_every, spec.eval_every_late) + 1) * spec.eval_tokens * flops / 3 / rate
    )
    start = START_SECONDS[spec.device] + (COMPILE_SECONDS if spec.compile else 0.0)
    return start + spec.steps * step + evaluations


def _rate(spec: RunSpec) -> float:
    if spec.device != "cpu":
        return FLOPS_PER_ACCELERATOR[spec.device]
    rate: float = FLOPS_PER_CORE[spec.dtype] * spec.threads**CORES_EXPONENT
    return rate * COMPILED_GAIN if spec.compile else rate


def _memory_bytes(spec: RunSpec) -> int:
    counts, shape = count_parameters(spec.shape).param_counts, spec.shape
    adam = counts.total - counts.transformer_matrices
    state = 4 * (4 * adam + 3 * counts.transformer_matrices)
    element = 2 if spec.dtype == "bfloat16" else 4
    tokens = spec.device_batch_size * spec.max_seq_len
    activations = tokens * shape.model_dim * (ACTIVATIONS_PER_LAYER * spec.depth + 8) * element
    scores = spec.device_batch_size * shape.n_head * spec.max_seq_len**2 * element * 2 * spec.depth
    copies = counts.total * 2 if element == 2 else 0
    logits = 3 * min(4 * tokens * spec.vocab_size, 2**30 if spec.device == "cuda" else 2**22)
    attention = scores if spec.device == "cpu" and spec.max_seq_len <= 512 else 0
    return PROCESS_BYTES[spec.device] + state + activations + attention + copies + logits
