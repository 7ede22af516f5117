"""gamma from one run's loss by context: what rows that begin at BOS, a bounded offset and other weights would give.

Trains the tiny profile's baseline on the embedded corpus, takes its losses on every row of validation text that lies in
one document, and calls the fit to all of them the truth. Then samples of as many rows as an evaluation has are fitted.

    python benchmarks/context_loss.py [--samples 60] [--seed 41]
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHOWN = (1, 2, 3, 4, 8, 16, 32, 64, 128)


def trained(folder: Path, seed: int) -> Any:
    """The finished training of the tiny profile's baseline."""
    from kill_resume import make_shards

    from laneb.corpus.shards import open_shards
    from laneb.settings import load_settings
    from laneb.training.devices import Device
    from laneb.training.interruption import StopRequest
    from laneb.training.loop import Training
    from laneb.training.reporting import Silent
    from laneb.training.run_directory import prepare
    from laneb.training.spec import lane_spec

    settings = load_settings("tiny")
    info = make_shards(settings, folder)
    steps = settings.baseline.num_iterations
    spec = lane_spec(info, settings.model, settings.training, seed=seed, steps=steps)
    prepare(folder / "run", spec)
    shards = open_shards(info.path)
    training = Training(spec, folder / "run", shards, Device(spec), Silent(folder / "run", spec), StopRequest())
    result = training.run()
    assert result.context_losses is not None
    print(f"{spec.run_id}: {result.final_val_bpb:.4f} bpb")
    return training, shards.val, result.context_losses


def losses_of(training: Any, tokens: NDArray[Any], starts: NDArray[np.int64]) -> Floats:
    """[rows, T] losses in bits."""
    from laneb.training.data import validation_batches

    rows = []
    for batch in validation_batches(tokens, training.spec.max_seq_len, starts, 64):
        inputs = training.device.put(batch)
        rows.append(training.model.losses(inputs[:, :-1], inputs[:, 1:]).double().cpu().numpy() / math.log(2))
    return np.concatenate(rows)


class Bins:
    """Losses averaged over the bins of `context_bins`, or over single lengths."""

    def __init__(self, longest: int, binned: bool) -> None:
        from laneb.training.evaluation import context_bins

        edges = context_bins(longest) if binned else [(n, n) for n in range(1, longest + 1)]
        self.slices = [slice(first - 1, last) for first, last in edges]
        self.widths = np.array([last - first + 1 for first, last in edges], dtype=float)
        self.contexts = np.array([np.exp(np.log(np.arange(first, last + 1)).mean()) for first, last in edges])

    def rows(self, losses: Floats) -> Floats:
        """[rows, bins]."""
        return np.stack([losses[:, part].mean(axis=1) for part in self.slices], axis=1)

    def gamma(self, curve: Floats, power: float, bounded: bool) -> float:
        """The exponent with weights n^-power per length; `bounded` holds h_inf below the smallest loss."""
        from laneb.statistics.power_law import Problem, largest_offset

        limit = largest_offset(curve) if bounded else float(curve.max())
        return Problem(self.contexts, curve, limit, self.widths * self.contexts**-power).best_exponent()


def main() -> int:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--seed", type=int, default=41)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training, split, measured = trained(Path(folder), options.seed)
        longest, many = training.spec.max_seq_len, len(split.tokens)
        from laneb.training.data import context_rows

        starts = context_rows(split.document_starts, many, longest, many, 1, 0)[0]
        whole = losses_of(training, split.tokens, starts)
        ends = np.append(split.document_starts[1:], many)
        from_bos = split.document_starts[ends - split.document_starts > longest]
        beginnings = losses_of(training, split.tokens, from_bos)
    print(f"{len(whole):,} rows in one document each; {len(beginnings)} documents are long enough for one from BOS")
    print(f"{'tokens of context':28s}" + "".join(f"{n:7d}" for n in SHOWN))
    for name, table in (("loss, rows cut anywhere", whole), ("loss, rows from BOS on", beginnings)):
        print(f"{name:28s}" + "".join(f"{table[:, n - 1].mean():7.2f}" for n in SHOWN))

    generator, picked = np.random.default_rng(0), measured.rows
    samples = []
    for _ in range(options.samples):
        places = (np.arange(picked) + generator.random()) * len(whole) / picked
        samples.append(whole[places.astype(int)])
    print(f"{options.samples} samples of {picked} rows: gamma of all rows, mean and sd over samples")
    for binned, power, bounded in itertools.product((True, False), (0.0, 0.5, 1.0), (False, True)):
        bins = Bins(longest, binned)
        truth = bins.gamma(bins.rows(whole).mean(axis=0), power, bounded)
        found = [bins.gamma(bins.rows(sample).mean(axis=0), power, bounded) for sample in samples]
        kind = f"{'bins' if binned else 'single lengths'}, weight n^-{power:g}, h_inf "
        kind += "below the smallest loss" if bounded else "free"
        print(f"{kind:64s}{truth:7.3f}{np.mean(found):8.3f}{np.std(found):8.3f}")
    held = coverage(Bins(longest, True), whole, samples)
    print(f"{held:.0%} of the samples' intervals hold the gamma of all rows")
    return 0


def coverage(bins: Bins, whole: Floats, samples: list[Floats]) -> float:
    """Share of samples whose interval holds the exponent of all rows."""
    from laneb.statistics import fit_context_losses

    truth = fit_context_losses(bins.contexts, bins.rows(whole).mean(axis=0), bins.widths).gamma
    held = 0
    for sample in samples:
        rows = bins.rows(sample)
        shape = rows - sample.mean(axis=1, keepdims=True)
        errors = shape.std(axis=0, ddof=1) / math.sqrt(len(rows))
        interval = fit_context_losses(bins.contexts, rows.mean(axis=0), bins.widths, errors).gamma_interval
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    return held / len(samples)


if __name__ == "__main__":
    sys.exit(main())
