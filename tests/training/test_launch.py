import sys
from pathlib import Path

import pytest

from laneb.knobs import EngineKnobs, TrainingKnobs
from laneb.training.estimate import estimate, estimated_for
from laneb.training.launch import processes_of, training_command
from laneb.training.run_directory import read_result

SPEC = Path("runs/d2_i4_s1/spec.json")


def test_a_process_is_the_module_on_the_spec():
    assert training_command(SPEC, TrainingKnobs()) == [sys.executable, "-m", "laneb.training", str(SPEC)]


def test_torchrun_gets_its_arguments_as_they_are():
    knobs = TrainingKnobs(launcher="torchrun", launcher_args="--nproc-per-node=2 --rdzv-id 'my run'")
    assert training_command(SPEC, knobs) == [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-id", "my run",
        "-m", "laneb.training", str(SPEC),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"launcher_args": "--nproc-per-node=2"}, "only torchrun takes arguments"),
        ({"launcher": "torchrun", "launcher_args": "'open"}, "No closing quotation"),
        ({"launcher": "torchrun", "backend": "simulated"}, "one process without torch"),
    ],
)
def test_arguments_that_can_not_hold_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        training_command(SPEC, TrainingKnobs(**knobs))


def test_a_checkouts_torchrun_is_started_by_our_one_process():
    knobs = TrainingKnobs(backend="nanochat", launcher="torchrun", launcher_args="--nproc_per_node=8")
    assert training_command(SPEC, knobs) == [sys.executable, "-m", "laneb.training", str(SPEC)]


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [("", 1), ("--standalone --nproc_per_node=8", 8), ("--nnodes 1 --nproc-per-node 2", 2), ("--nnodes=1:1", 1)],
)
def test_the_world_size_is_what_torchrun_is_told(arguments, processes):
    assert processes_of(arguments.split()) == processes


@pytest.mark.parametrize("arguments", ["--nproc_per_node=gpu", "--nproc-per-node auto", "--nnodes=2", "--nnodes 1:4"])
def test_a_world_size_that_is_not_said_is_refused(arguments):
    with pytest.raises(ValueError, match="LANE_B_LAUNCHER_ARGS: --n"):
        processes_of(arguments.split())


def test_longer_and_larger_runs_are_estimated_to_cost_more(runs):
    small, longer, larger = runs.spec(), runs.spec(steps=1200), runs.spec(depth=8, aspect_ratio=64)
    assert estimate(longer).seconds > 2 * estimate(small).seconds
    assert estimate(longer).memory_bytes == estimate(small).memory_bytes
    assert estimate(larger).memory_bytes > 1.2 * estimate(small).memory_bytes


def test_what_is_declared_of_the_nodes_is_what_is_estimated(runs):
    spec = runs.spec(elsewhere=True, device="auto", steps=100_000)
    nothing, slower, processors = EngineKnobs(), EngineKnobs(node_flops=1e9), EngineKnobs(node_device="cpu")
    assert estimate(spec, nothing) == estimate(spec)
    assert estimate(spec, slower).seconds > 10 * estimate(spec).seconds
    assert estimate(spec, processors).seconds > estimate(spec).seconds
    assert "one H100" in estimated_for(spec, nothing) and "LANE_B_ENGINE_FLOPS" in estimated_for(spec, nothing)
    declared = EngineKnobs(node_device="cuda", node_flops=2.5e15)
    assert estimated_for(spec, declared) == "nodes as declared: cuda at 2.5e+15 FLOP/s"
    assert estimated_for(runs.spec(), nothing).startswith("nodes with cpu as on this machine: say what yours reach")


def test_a_checkpoint_of_depth_12_takes_2_9_gib(runs):
    shape = {"depth": 12, "aspect_ratio": 64, "head_dim": 128, "max_seq_len": 2048, "vocab_size": 32768}
    deep = estimate(runs.spec().model_copy(update=shape))
    assert deep.checkpoint_bytes / 2**30 == pytest.approx(2.9, abs=0.05)


def test_the_estimated_memory_is_about_what_a_run_takes_however_large_its_parent_is(runs):
    spec, ballast = runs.spec(), b"x" * (1 << 30)
    assert runs.start_command(runs.prepared(spec)).wait() == 0
    assert len(ballast) == 1 << 30
    result = read_result(runs.folder / spec.run_id, spec)
    assert result is not None and result.peak_mem_mib is not None
    assert 0.5 < estimate(spec).memory_bytes / 2**20 / result.peak_mem_mib < 2
