"""What Lane B does on a GPU, in one call of under nine minutes, as one table. `--micro` tries it all on a CPU.

Each row is a training process of its own on made-up text: depth 12 at 524,288 tokens a step with windows L and SSSL,
compiled and not; depths 20 and 26 with the rows a pass that the estimate allows; a run that is killed behind its
checkpoint and goes on; memory that runs out on purpose; float32 against bfloat16; one and two processes under torchrun.

    python benchmarks/gpu.py [--micro] [--minutes 8.5] [--only d12,resume,...]

Needs torch, numpy, pydantic, typing-extensions, filelock and dagster-pipes alone: no Dagster, no DuckDB.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.model.scaling import ModelShape, count_parameters
from laneb.records.corpus import TokenShards
from laneb.records.runs import RunResult
from laneb.training import hardware
from laneb.training.estimate import estimate
from laneb.training.run_directory import prepare, read_result
from laneb.training.spec import RunSpec, spec_for

DOCUMENT = 700
CLOSE_LOSS, CLOSE_PRECISION, CLOSE_MEMORY = 1e-3, 0.02, 0.15
SHARE_OF_MEMORY = 0.9


@dataclass(frozen=True)
class Sizes:
    """What is measured: nanochat's sizes, or micro ones."""

    vocabulary: int
    context: int
    head_dim: int
    aspect_ratio: int
    rows: int
    batch: int
    large_batch: int
    depths: tuple[int, int, int]
    steps: int
    short_steps: int
    too_many_rows: int


FULL = Sizes(32_768, 2048, 128, 64, 32, 2**19, 2**17, (12, 20, 26), 60, 10, 4096)
MICRO = Sizes(512, 64, 32, 32, 4, 1024, 512, (2, 3, 4), 14, 12, 10**12)


@dataclass
class Bench:
    """Where runs lie, what they train on, and the table so far."""

    folder: Path
    shards: TokenShards
    sizes: Sizes
    device: str
    deadline: float
    lines: list[str] = field(default_factory=list)

    def spec(self, depth: int, steps: int, *, pattern: str = "SSSL", batch: int = 0, **training: object) -> RunSpec:
        """A run of July's recipe."""
        sizes = self.sizes
        model = ModelKnobs(
            recipe="nanochat-2026-07", depth=depth, aspect_ratio=sizes.aspect_ratio, head_dim=sizes.head_dim,
            max_seq_len=sizes.context, window_pattern=pattern,
        )  # fmt: skip
        rows = training.pop("rows", sizes.rows)
        knobs = TrainingKnobs(
            device=self.device, device_batch_size=rows, total_batch_size=batch or sizes.batch, eval_every=10**6,
            eval_every_late=10**6, eval_tokens=sizes.rows * sizes.context, checkpoint_every=10**6, **training,
        )  # fmt: skip
        scaling = count_parameters(ModelShape.of(model, sizes.vocabulary))
        return spec_for(self.shards, scaling, model, knobs, seed=41, steps=steps)

    def row(self, name: str, cells: Sequence[str], note: str = "") -> None:
        """One line of the table, printed at once."""
        line = f"{name:<34}" + "".join(f"{cell:>11}" for cell in cells) + ("  " + note if note else "")
        self.lines.append(line)
        print(line, flush=True)


@dataclass(frozen=True)
class Ended:
    """A training process that ended."""

    status: int
    result: RunResult | None
    losses: list[float]
    first_step_seconds: float
    mfu: float
    error: str


def run(bench: Bench, name: str, spec: RunSpec, *, kill_at: int = -1, processes: int = 0) -> Ended:
    """Train a spec in a process of its own, or several under torchrun; kill it behind a step."""
    run_dir = bench.folder / name
    prepare(run_dir, spec)
    command = [sys.executable, "-m", "laneb.training", str(run_dir / "spec.json")]
    if processes:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command[1:1] = launcher
    started, first = time.perf_counter(), 0.0
    # A file, so that a child with much to say on standard error never waits for a reader.
    with (bench.folder / f"{name}.err").open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step ") and not first:
                first = time.perf_counter() - started
            if kill_at >= 0 and line.startswith(f"step {kill_at:05d}"):
                os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        errors.seek(0)
        said = errors.read()
    log = (run_dir / "train.log").read_text() if (run_dir / "train.log").exists() else ""
    steps = [line for line in log.splitlines() if line.startswith("step ")]
    losses = [float(line.split("loss: ")[1].split()[0]) for line in steps]
    shares = sorted(float(line.split("bf16_mfu: ")[1].split()[0]) for line in steps[-max(1, len(steps) // 2) :])
    mfu = shares[len(shares) // 2] if shares else 0.0
    return Ended(status, read_result(run_dir, spec), losses, first, mfu, said)


def measured(bench: Bench, name: str, spec: RunSpec, note: str = "", processes: int = 0) -> Ended:
    """Train a spec and print its speed, memory and start."""
    ended = run(bench, name.replace(" ", "_"), spec, processes=processes)
    result = ended.result
    if result is None or result.tok_per_sec_median is None:
        last = (ended.error.strip().splitlines() or ["no result"])[-1]
        bench.row(name, [], f"FAILED (exit {ended.status}): {last[:200]}")
        return ended
    expected, peak = estimate(spec).memory_bytes / 2**30, (result.peak_mem_mib or 0.0) / 2**10
    bench.row(
        name,
        [
            f"{result.tok_per_sec_median:,.0f}", f"{ended.mfu:.1f}", f"{result.dt_median_ms:,.0f}", f"{peak:.2f}",
            f"{expected:.2f}", f"{ended.first_step_seconds:.1f}",
        ],
        note,
    )  # fmt: skip
    return ended


def d12(bench: Bench) -> None:
    """Speed at the smallest of nanochat's sizes: windows and full contexts, compiled and not."""
    sizes, seconds = bench.sizes, {}
    for pattern in ("L", "SSSL"):
        spec = bench.spec(sizes.depths[0], sizes.steps, pattern=pattern)
        ended = measured(bench, f"d{sizes.depths[0]} {pattern} as it comes", spec)
        seconds[pattern] = ended.result.dt_median_ms if ended.result else None
    if all(seconds.values()):
        bench.row("  SSSL costs", [f"{seconds['SSSL'] / seconds['L']:.2f}x"], "of L, seconds a step")
    for pattern in ("L", "SSSL"):
        spec = bench.spec(sizes.depths[0], sizes.short_steps + 2, pattern=pattern).model_copy(update={"compile": False})
        measured(bench, f"d{sizes.depths[0]} {pattern} not compiled", spec)


def large(bench: Bench) -> None:
    """Larger models, with as many rows a pass as the estimate says fit."""
    sizes, memory = bench.sizes, device_memory(bench.device)
    for depth in sizes.depths[1:]:
        rows = sizes.large_batch // sizes.context
        spec = bench.spec(depth, sizes.short_steps + 2, batch=sizes.large_batch, rows=rows)
        while rows > 1 and estimate(spec).memory_bytes > SHARE_OF_MEMORY * memory:
            rows //= 2
            spec = bench.spec(depth, sizes.short_steps + 2, batch=sizes.large_batch, rows=rows)
        ended = measured(bench, f"d{depth} SSSL, {rows} rows a pass", spec)
        if ended.result and ended.result.peak_mem_mib:
            off = estimate(spec).memory_bytes / 2**20 / ended.result.peak_mem_mib - 1
            bench.row("  memory, estimate over peak", [f"{off:+.0%}"], verdict(abs(off) <= CLOSE_MEMORY))


def resume(bench: Bench) -> None:
    """Killed behind its checkpoint at step 20, and gone on, against undisturbed."""
    sizes = bench.sizes
    batch = sizes.rows * sizes.context
    spec = bench.spec(sizes.depths[0], 30, batch=batch).model_copy(update={"checkpoint_every": 20})
    whole = run(bench, "undisturbed", spec)
    killed = run(bench, "killed", spec, kill_at=24)
    again = run(bench, "killed", spec)
    if not (whole.losses and len(whole.losses) == len(again.losses)):
        bench.row("killed at 24, resumed", [], f"FAILED: {len(again.losses)} losses of {len(whole.losses)}")
        return
    gap = max(abs(one - other) for one, other in zip(whole.losses, again.losses, strict=True))
    bench.row("killed at 24, resumed", [f"{gap:.1e}"], f"largest difference of a loss, {verdict(gap <= CLOSE_LOSS)}")
    assert killed.result is None


def memory(bench: Bench) -> None:
    """More rows than any memory holds."""
    sizes = bench.sizes
    rows = sizes.too_many_rows
    spec = bench.spec(sizes.depths[0], 5, rows=rows, batch=rows * sizes.context)
    ended = run(bench, "too_large", spec)
    lines = [line for line in ended.error.strip().splitlines() if line]
    good = ended.status == 1 and len(lines) == 1 and "out of memory" in lines[0]
    bench.row(
        "out of memory on purpose", [f"exit {ended.status}"], f"{verdict(good)}: {lines[-1][:160] if lines else ''}"
    )


def precision(bench: Bench) -> None:
    """The first losses in bfloat16 and in float32, and under torchrun: one process, and two on one device."""
    sizes = bench.sizes
    batch = 2 * sizes.rows * sizes.context
    spec = bench.spec(sizes.depths[0], 20, batch=batch)
    low = run(bench, "as_it_comes", spec)
    others: list[tuple[str, RunSpec, int, float]] = [
        ("float32", spec.model_copy(update={"dtype": "float32"}), 0, CLOSE_PRECISION),
        ("torchrun, 1 process", spec, 1, CLOSE_LOSS),
        ("torchrun, 2 on one device", spec, 2, CLOSE_PRECISION),
    ]
    for name, other_spec, processes, close in others:
        if out_of_time(bench, name):
            return
        other = run(bench, name.replace(",", "").replace(" ", "_"), other_spec, processes=processes)
        if len(other.losses) != len(low.losses) or not low.losses:
            last = (other.error.strip().splitlines() or [""])[-1]
            bench.row(f"{name} against {spec.dtype}", [], f"FAILED (exit {other.status}): {last[:160]}")
            continue
        gap = max(abs(one - two) for one, two in zip(low.losses, other.losses, strict=True))
        bench.row(
            f"{name} against {spec.dtype}", [f"{gap:.1e}"], f"largest difference of a loss, {verdict(gap <= close)}"
        )


def verdict(good: bool) -> str:
    """In a word."""
    return "ok" if good else "NOT AS IT SHOULD BE"


def out_of_time(bench: Bench, name: str) -> bool:
    """Whether the call has used its time; says what is left out."""
    if time.perf_counter() < bench.deadline:
        return False
    bench.row(name, [], "left out: no time left")
    return True


def device_memory(device: str) -> int:
    """Bytes that the device has."""
    if device != "cuda":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]) * 2**20


def made_shards(folder: Path, sizes: Sizes) -> TokenShards:
    """Text in which some tokens are common, and each makes a few others likely."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(3)
    counts = {"train": 64 * sizes.rows * sizes.context, "val": 4 * sizes.rows * sizes.context}
    for split, size in counts.items():
        common = (draw.random(size) ** 4 * (sizes.vocabulary - 1)).astype(np.uint16) + 1
        stream = np.where(draw.random(size) < 0.5, common, np.roll(common, 1) * 7 % (sizes.vocabulary - 1) + 1)
        stream[::DOCUMENT] = 0
        stream.astype("<u2").tofile(folder / f"{split}.bin")
        np.save(folder / f"{split}_starts.npy", np.arange(0, size, DOCUMENT))
    token_bytes = np.full(sizes.vocabulary, 4, dtype=np.int32)
    token_bytes[0] = 0
    np.save(folder / "token_bytes.npy", token_bytes)
    info = TokenShards(
        timestamp_utc="2026-01-01T00:00:00Z", dataset_id="made", tokenizer_id="made", corpus_fingerprint="made",
        path=str(folder), train_documents=-(-counts["train"] // DOCUMENT), train_tokens=counts["train"],
        train_bytes=4 * counts["train"], val_documents=-(-counts["val"] // DOCUMENT), val_tokens=counts["val"],
        val_bytes=4 * counts["val"], vocab_size=sizes.vocabulary, bos_id=0,
    )  # fmt: skip
    (folder / "meta.json").write_text(json.dumps({**info.model_dump(), "dtype": "uint16"}), encoding="utf-8")
    return info


PARTS: dict[str, Callable[[Bench], None]] = {
    "d12": d12, "resume": resume, "memory": memory, "precision": precision, "large": large,
}  # fmt: skip


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--micro", action="store_true", help="micro shapes on the CPU")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    arguments = parser.parse_args()
    micro = arguments.micro or hardware.cuda_capability() is None
    if micro and not arguments.micro:
        print("no GPU is found: micro shapes on the CPU")
    sizes = MICRO if micro else FULL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bench = Bench(
            folder, made_shards(folder / "shards", sizes), sizes, "cpu" if micro else "cuda",
            time.perf_counter() + 60 * arguments.minutes,
        )  # fmt: skip
        bench.row("", ["tokens/s", "MFU %", "ms/step", "peak GiB", "estimate", "1st step s"])
        for name in arguments.only.split(","):
            if not out_of_time(bench, name):
                PARTS[name](bench)


if __name__ == "__main__":
    main()
