"""The device that a run computes on, alone or as one of several processes."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from typing import TYPE_CHECKING

import torch
from torch import distributed

from laneb.training.gpu_lease import lease_gpu, take_gpu
from laneb.training.hardware import peak_resident_mib
from laneb.training.interruption import ProcessLostError
from laneb.training.peaks import bfloat16_peak
from laneb.training.processes import adopt_launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from filelock import FileLock
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from laneb.training.spec import RunSpec

M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD = -4, -1, -2  # glibc's mallopt


def keep_freed_memory() -> None:
    """Let glibc reuse freed buffers in place of returning them to the system.

    Every activation is a fresh buffer, and by default each large one is mapped, faulted in page by page and unmapped
    again: half of a CPU step's time. Changes no number; does nothing where the C library isn't glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20)):
                mallopt(parameter, value)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """What the processes of a run do together.

    Raises:
        ProcessLostError: one of them is gone.
    """
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            "another process of the run ended, or can't be reached any more: its own message says why. Start the run "
            "again: it goes on from its last checkpoint"
        ) from error


def _uuid(place: int) -> str:
    return str(torch.cuda.get_device_properties(place).uuid)


class Device:
    """Where tensors lie, and what the processes of a run do together.

    Attributes:
        torch_device: for tensors.
        rank, world: this process among those of the run; 0 of 1 when alone.
    """

    def __init__(
        self,
        spec: RunSpec,
        say: Callable[[str], None] = lambda sentence: None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Set threads, allocator and, under torchrun or srun, the process group; alone on CUDA, wait for a GPU.

        Args:
            spec: the run.
            say: told when it has to wait.
            between: called while it waits; may raise to give up.

        Raises:
            ValueError: the spec's device is not there, or the processes can't share the accumulation steps.
        """
        self.kind = spec.device
        self.rank, self.world, local_rank, local_world = 0, 1, 0, 1
        self._check_presence()
        self._lease: FileLock | None = None
        if distributed.is_available() and adopt_launcher(os.environ):
            local_rank = distributed.get_node_local_rank()
            # Slurm may show each process its own GPU only; torchrun shows all to all, and more processes share them.
            shared = self.kind == "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count()
            if self.kind == "cuda":
                first, local_rank = local_rank < torch.cuda.device_count(), local_rank % torch.cuda.device_count()
                if first:
                    self._lease = take_gpu(_uuid(local_rank))
                torch.cuda.set_device(local_rank)
            distributed.init_process_group("nccl" if self.kind == "cuda" and not shared else "gloo")
            self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
            local_world = self._processes_here()
        elif self.kind == "cuda":
            names = [_uuid(place) for place in range(torch.cuda.device_count())]
            local_rank, self._lease = lease_gpu(names, say, between)
            torch.cuda.set_device(local_rank)
        if spec.accumulation_steps % self.world:
            raise ValueError(
                f"{self.world} processes can't share {spec.accumulation_steps} accumulation steps evenly (total batch "
                f"{spec.total_batch_size} tokens, {spec.device_batch_size} rows of {spec.max_seq_len} a pass): "
                "set LANE_B_LAUNCHER_ARGS=--nproc-per-node to a divisor, or lower LANE_B_DEVICE_BATCH_SIZE"
            )
        self.torch_device = torch.device(self.kind, local_rank) if self.kind == "cuda" else torch.device(self.kind)
        if self.kind == "cpu":
            keep_freed_memory()
        torch.set_num_threads(max(1, spec.threads // local_world))
        torch.set_float32_matmul_precision("high")

    @property
    def leads(self) -> bool:
        """Whether this process writes the log, the checkpoints and the result."""
        return self.rank == 0

    @property
    def reduction_device(self) -> torch.device:
        """Where float64 sums are kept: MPS has none."""
        return torch.device("cpu") if self.kind == "mps" else self.torch_device

    @property
    def name(self) -> str:
        """For people: the GPU's name, or the CPU and its threads."""
        if self.kind == "cuda":
            return torch.cuda.get_device_name(self.torch_device)
        return self.kind if self.kind == "mps" else f"cpu ({torch.get_num_threads()} threads)"

    @property
    def peak_flops(self) -> float | None:
        """bfloat16 peak [FLOP/s] of all processes together, or None where it isn't known."""
        if self.kind != "cuda":
            return None
        peak = bfloat16_peak(self.name)
        return None if peak is None else peak * self.world

    def put(self, rows: NDArray[np.int64]) -> Tensor:
        """A batch as a tensor on the device; on CUDA from pinned memory, while the device computes."""
        tensor = torch.from_numpy(rows)
        if self.kind == "cuda":
            return tensor.pin_memory().to(self.torch_device, non_blocking=True)
        return tensor.to(self.torch_device)

    def synchronise(self) -> None:
        """Wait until the device has done what was asked of it, so that a clock reads true."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch_device)
        elif self.kind == "mps":
            torch.mps.synchronize()

    def add_up(self, sums: Tensor) -> None:
        """Replace a tensor by its sum over the processes."""
        if self.world > 1:
            with _together():
                distributed.all_reduce(sums)

    def add_up_gradients(self, model: nn.Module, extra: Tensor) -> Tensor:
        """Sum every gradient over the processes in one message, and `extra` (float32, 1-d) with them."""
        if self.world == 1:
            return extra
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), extra])
        with _together():
            distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[start:]

    def shared(self, work: Callable[[Tensor, torch.dtype], Tensor]) -> Callable[[Tensor, torch.dtype], Tensor]:
        """Work on a stack of matrices [n, R, K] as one in which each process does a part and all get the whole.

        Orthogonalising is Muon's whole cost, and without this every process would do it for every matrix.
        """
        if self.world == 1:
            return work

        def in_parts(stack: Tensor, dtype: torch.dtype) -> Tensor:
            # A stack that does not divide evenly is filled up: every message is of one size.
            size = math.ceil(len(stack) / self.world)
            mine = stack[self.rank * size : (self.rank + 1) * size]
            part = torch.zeros((size, *stack.shape[1:]), dtype=stack.dtype, device=stack.device)
            if len(mine):
                part[: len(mine)] = work(mine, dtype)
            whole = torch.empty((self.world, *part.shape), dtype=stack.dtype, device=stack.device)
            with _together():
                distributed.all_gather(list(whole.unbind()), part)
            return whole.flatten(0, 1)[: len(stack)]

        return in_parts

    def agree(self, value: int) -> int:
        """The leading process's integer."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.int64, device=self.torch_device)
        with _together():
            distributed.broadcast(tensor, src=0)
        return int(tensor.item())

    def peak_memory_mib(self) -> float:
        """Most memory held so far [MiB]: the GPU's, or this process's resident set."""
        if self.kind == "cuda":
            return torch.cuda.max_memory_allocated(self.torch_device) / 2**20
        return peak_resident_mib()

    def close(self) -> None:
        """Leave the process group, and the GPU to others."""
        if self.world > 1:
            distributed.destroy_process_group()
        if self._lease is not None:
            self._lease.release()

    def _check_presence(self) -> None:
        present = {
            "cpu": True,
            "cuda": torch.cuda.is_available() if self.kind == "cuda" else False,
            "mps": torch.backends.mps.is_available() if self.kind == "mps" else False,
        }
        if not present[self.kind]:
            raise ValueError(
                f"device {self.kind}: this torch ({torch.__version__}) finds none here. Set LANE_B_DEVICE=cpu, or "
                "install a torch build for it"
            )

    def _processes_here(self) -> int:
        """Processes of the run on this machine, which share its cores: those with its node's local ranks."""
        ranks = torch.zeros(self.world, dtype=torch.int64, device=self.kind)
        ranks[self.rank] = distributed.get_node_local_rank() + 1
        distributed.all_reduce(ranks)
        return int(ranks.max().item())
