"""Validation loss at equal steps: a run as Lane B trains it, in float32, and with nanochat's update of the matrices.

One job of a nanochat user on a CPU, its customary learning rates, text of the embedded corpus: same weights at the
start, same batches, same schedule. `laneb` is the run as it is; `float32` takes bfloat16 and the compiler from it;
`nanochat` takes float32 and orthogonalises with Polar Express in bfloat16, evens the rows of the update out and lets
weights decay only where the update shrinks them, as nanochat does since 2026 (see laneb/model/muon.py).

    python benchmarks/equal_steps.py [--vocab-size 4096] [--depth 4] [--steps 150] [--seeds 41]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from kill_resume import make_shards

from laneb.corpus.shards import open_shards
from laneb.model.muon import Muon, NormalisedMuon
from laneb.model.recipes import nanochat_2026_02
from laneb.settings import Settings, load_settings
from laneb.training.devices import Device
from laneb.training.interruption import StopRequest
from laneb.training.loop import Training
from laneb.training.reporting import Silent
from laneb.training.spec import RunSpec, lane_spec

ROWS, CONTEXT = 16, 256


def nanochats(muon: Muon) -> NormalisedMuon:
    """The same matrices at the same rate, updated as nanochat of February does."""
    february = nanochat_2026_02.RECIPE
    assert february.row_memory is not None
    return NormalisedMuon(
        muon.params, muon.rate, muon.decay, february.orthogonalise, torch.float32, row_memory=february.row_memory
    )


FLOAT32: dict[str, object] = {"dtype": "float32", "compile": False}
WAYS: dict[str, dict[str, object]] = {"laneb": {}, "float32": FLOAT32, "nanochat": FLOAT32}
"""What each changes of the run's numbers."""


def job(vocab_size: int, depth: int) -> Settings:
    """A nanochat user's on a CPU: rates and schedule are customary, sizes small."""
    sizes = {
        "data.vocab_size": vocab_size, "data.max_bytes": 30_000_000,
        "model.recipe": "laneb", "model.window_pattern": "L", "model.depth": depth,
        "model.max_seq_len": CONTEXT, "model.head_dim": 64,
        "training.device": "cpu", "training.device_batch_size": ROWS, "training.total_batch_size": ROWS * CONTEXT,
        "training.eval_tokens": 65_536, "training.eval_every": 50, "training.eval_every_late": 50,
    }  # fmt: skip
    return load_settings("nanochat_d12", environ={}, overrides=sizes)


def trained(way: str, spec: RunSpec, folder: Path) -> dict[int, float]:
    """Validation bpb by step."""
    training = Training(spec, folder, open_shards(spec.shards_path), Device(spec), Silent(folder, spec), StopRequest())
    if way == "nanochat":
        training.optimizers.muons = [nanochats(muon) for muon in training.optimizers.muons]
    return {point.step: point.bpb for point in training.run().val_curve}


def report(curves: dict[str, list[dict[int, float]]], seeds: Sequence[int]) -> None:
    """Each way's loss by step, and how far it ends from Lane B's."""
    steps = list(curves["laneb"][0])
    print(f"{'way':10}{'seed':>6}" + "".join(f"{step:>10}" for step in steps))
    for way, runs in curves.items():
        for seed, curve in zip(seeds, runs, strict=True):
            print(f"{way:10}{seed:>6}" + "".join(f"{curve[step]:>10.4f}" for step in steps))
    for way in list(curves)[1:]:
        gaps = [ours[steps[-1]] - other[steps[-1]] for ours, other in zip(curves["laneb"], curves[way], strict=True)]
        print(f"laneb - {way}: {', '.join(f'{gap:+.4f}' for gap in gaps)} bpb at step {steps[-1]}")


def main() -> None:
    """Train each way with each seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", default="41")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    settings = job(arguments.vocab_size, arguments.depth)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = make_shards(settings, folder)
        curves: dict[str, list[dict[int, float]]] = {}
        specs = [
            lane_spec(shards, settings.model, settings.training, seed=seed, steps=arguments.steps) for seed in seeds
        ]
        for way, numbers in WAYS.items():
            changed = [spec.model_copy(update=numbers) for spec in specs]
            curves[way] = [trained(way, spec, folder / way / spec.run_id) for spec in changed]
    report(curves, seeds)


if __name__ == "__main__":
    main()
