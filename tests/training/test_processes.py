"""Whose process this is, which GPU it gets, and what it says when memory runs out."""

import pytest

from laneb.training.gpu_lease import lease_gpu, take_gpu
from laneb.training.out_of_memory import fewer_rows, is_out_of_memory, out_of_memory
from laneb.training.processes import adopt_launcher

SRUN = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0",
}  # fmt: skip


def test_sruns_words_count_as_torchruns():
    environment = dict(SRUN)
    assert adopt_launcher(environment)
    found = [environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")]
    assert found == ["5", "8", "1", "gpu03"]
    other = {**SRUN, "SLURM_PROCID": "0"}
    adopt_launcher(other)
    assert other["MASTER_PORT"] == environment["MASTER_PORT"]


def test_what_torchrun_said_stays():
    environment = {**SRUN, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "here"}
    assert adopt_launcher(environment)
    assert (environment["WORLD_SIZE"], environment["MASTER_ADDR"]) == ("2", "here")


@pytest.mark.parametrize("lacking", ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"])
def test_a_process_alone_is_alone(lacking):
    alone = {name: value for name, value in SRUN.items() if name != lacking}
    assert not adopt_launcher(alone) and "RANK" not in alone
    assert not adopt_launcher({})
    assert not adopt_launcher({**SRUN, "SLURM_STEP_NUM_TASKS": "1"})


def test_runs_at_once_get_a_gpu_each_and_the_next_one_waits(tmp_path):
    said: list[str] = []
    leases = [lease_gpu(["GPU-a", "GPU-b"], said.append, lambda: None, tmp_path) for _ in range(2)]
    assert [place for place, _ in leases] == [0, 1] and said == []

    def one_ends() -> None:
        leases[1][1].release()

    place, lock = lease_gpu(["GPU-a", "GPU-b"], said.append, one_ends, tmp_path)
    assert place == 1 and said == ["waits for a GPU: other runs hold all 2 of this machine"]
    lock.release()


def test_a_gpu_that_another_run_holds_is_refused_to_one_of_several_processes(tmp_path):
    lock = take_gpu("GPU-a", tmp_path)
    with pytest.raises(ValueError, match=r"GPU GPU-a of this machine is held by another run.*CUDA_VISIBLE_DEVICES"):
        take_gpu("GPU-a", tmp_path)
    place, other = lease_gpu(["GPU-a", "GPU-b"], lambda sentence: None, lambda: None, tmp_path)
    assert place == 1
    other.release()
    lock.release()
    take_gpu("GPU-a", tmp_path).release()


def test_memory_that_ran_out_is_one_sentence_with_the_batch_to_try(runs):
    spec = runs.spec(device_batch_size=10**12, total_batch_size=16 * 10**12)
    run_dir = runs.prepared(spec)
    process = runs.start(run_dir)
    _, error = process.communicate()
    assert process.returncode == 1 and len(error.strip().splitlines()) == 1
    assert "out of memory on cpu" in error and "Set LANE_B_DEVICE_BATCH_SIZE=500000000000" in error


@pytest.mark.parametrize(("rows", "batch_rows", "fitting"), [(8, 8, 4), (6, 12, 3), (3, 9, 1), (1, 8, 0)])
def test_fewer_rows_make_the_same_batch(runs, rows, batch_rows, fitting):
    spec = runs.spec(device_batch_size=rows, total_batch_size=batch_rows * 16)
    assert fewer_rows(spec) == fitting
    remedy = f"LANE_B_DEVICE_BATCH_SIZE={fitting}" if fitting else "Lower LANE_B_MAX_SEQ_LEN or LANE_B_DEPTH"
    assert remedy in str(out_of_memory(spec, "cuda"))


def test_other_errors_are_not_taken_for_it():
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
