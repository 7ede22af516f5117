"""Validation loss at equal steps: a run as Lane B trains it, in float32, and with nanochat's update of the matrices.

One job of a nanochat user on a CPU, its customary learning rates, text of the embedded corpus: same weights at the
start, same batches, same schedule. `laneb` is the run as it is; `float32` takes bfloat16 and the compiler from it;
`nanochat` takes float32 and orthogonalises with Polar Express (Amsel et al. 2025, arXiv:2505.16932), evens the rows of
the update out (NorMuon, Li et al. 2025, arXiv:2510.05491) and lets weights decay only where the update shrinks them
(Chen et al. 2025, arXiv:2510.12402), as nanochat does since 2026.

    python benchmarks/equal_steps.py [--vocab-size 4096] [--depth 4] [--steps 150] [--seeds 41]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from kill_resume import make_shards
from torch import Tensor

from laneb.corpus.shards import open_shards
from laneb.model.optimizer import Muon
from laneb.settings import Settings, load_settings
from laneb.training.devices import Device
from laneb.training.interruption import StopRequest
from laneb.training.loop import Training
from laneb.training.reporting import Silent
from laneb.training.spec import RunSpec, lane_spec

ROW_MEMORY = 0.95
ROWS, CONTEXT = 16, 256


def composed_quintics(smallest: float = 1e-3, steps: int = 5) -> list[tuple[float, float, float]]:
    """Polar Express: each step the odd quintic that is nearest to 1 on what the steps before have left, [l, 2 - l].

    Singular values of a normed matrix lie in [smallest, 1]; a quintic a x + b x^3 + c x^5 with the least greatest
    deviation from 1 has four places where it deviates most, found here by exchange (Remez).
    """
    found = []
    low, high = smallest, 1.0
    for _ in range(steps):
        places = [low + (high - low) * share for share in (0.0, 1 / 3, 2 / 3, 1.0)]
        for _ in range(60):
            rows = torch.tensor([[x, x**3, x**5, (-1.0) ** i] for i, x in enumerate(places)], dtype=torch.float64)
            a, b, c, deviation = torch.linalg.solve(rows, torch.ones(4, dtype=torch.float64)).tolist()
            # Between the ends the quintic deviates most where its derivative a + 3 b x^2 + 5 c x^4 is 0.
            root = math.sqrt(max(9 * b * b - 20 * a * c, 0.0))
            inner = [math.sqrt(max((-3 * b - sign * root) / (10 * c), 0.0)) for sign in (1, -1)]
            places = [low, *sorted(min(max(x, low), high) for x in inner), high]
        found.append((a, b, c))
        # Singular values that the next quintic sees.
        low, high = 1 - abs(deviation), 1 + abs(deviation)
    return found


class NanochatMuon(Muon):
    """nanochat's update of matrices of one shape."""

    quintics = composed_quintics()

    @classmethod
    def like(cls, muon: Muon) -> NanochatMuon:
        """The same matrices at the same rate, in float32."""
        return cls(muon.params, muon.rate, muon.decay, torch.float32)

    @torch.no_grad()
    def step(self, multiplier: float, momentum: float, decay: float) -> None:
        """Update every matrix, at `multiplier` times the rate and `decay` times the decay."""
        gradient = torch.stack([p.grad for p in self.params if p.grad is not None])
        self._velocity.lerp_(gradient, 1 - momentum)
        update = self._evened(self._orthogonal(gradient.lerp_(self._velocity, momentum)))
        rows, columns = self.params[0].shape
        rate = self.rate * multiplier * math.sqrt(max(1.0, rows / columns))
        for parameter, change in zip(self.params, update.unbind(), strict=True):
            shrinks = change * parameter >= 0
            parameter -= rate * change + rate * self.decay * decay * parameter * shrinks

    def _orthogonal(self, matrices: Tensor) -> Tensor:
        x: Tensor = matrices / (1.02 * matrices.norm(dim=(1, 2), keepdim=True) + 1e-6)
        for a, b, c in self.quintics:
            gram = x.mT @ x
            x = a * x + x @ (b * gram + c * gram @ gram)
        return x

    def _evened(self, update: Tensor) -> Tensor:
        """Each row (column of a wide matrix) divided by its running size, the whole as large as before."""
        across = 2 if update.size(1) >= update.size(2) else 1
        power = update.square().mean(dim=across, keepdim=True)
        self._power = power.lerp(getattr(self, "_power", torch.zeros_like(power)), ROW_MEMORY)
        even = update * self._power.clamp_min(1e-10).rsqrt()
        whole = (1, 2)
        shrunk: Tensor = update.norm(dim=whole, keepdim=True) / even.norm(dim=whole, keepdim=True).clamp_min(1e-10)
        return even * shrunk


FLOAT32: dict[str, object] = {"dtype": "float32", "compile": False}
WAYS: dict[str, dict[str, object]] = {"laneb": {}, "float32": FLOAT32, "nanochat": FLOAT32}
"""What each changes of the run's numbers."""


def job(vocab_size: int, depth: int) -> Settings:
    """A nanochat user's on a CPU: rates and schedule are customary, sizes small."""
    sizes = {
        "data.vocab_size": vocab_size, "data.max_bytes": 30_000_000,
        "model.depth": depth, "model.max_seq_len": CONTEXT, "model.head_dim": 64,
        "training.device": "cpu", "training.device_batch_size": ROWS, "training.total_batch_size": ROWS * CONTEXT,
        "training.eval_tokens": 65_536, "training.eval_every": 50, "training.eval_every_late": 50,
    }  # fmt: skip
    return load_settings("nanochat_d12", environ={}, overrides=sizes)


def trained(way: str, spec: RunSpec, folder: Path) -> dict[int, float]:
    """Validation bpb by step."""
    training = Training(spec, folder, open_shards(spec.shards_path), Device(spec), Silent(folder, spec), StopRequest())
    if way == "nanochat":
        training.optimizers.muons = [NanochatMuon.like(muon) for muon in training.optimizers.muons]
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
