"""The built-in trainer against a nanochat checkout: the same job, text, tokens, seeds and steps, in turns in one run.

The checkout's own flags and defaults stand for both; the built-in takes the recipe of the checkout's date. Side by
side: validation bpb at the end, and tokens per second.

    python benchmarks/against_checkout.py DIR [--depth 4] [--context 256] [--rows 16] [--steps 60] [--seeds 41,42]

Without DIR it says that there is nothing to compare with, and ends.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from laneb.corpus.checkout import find_checkout
from laneb.corpus.checkout_data import CheckoutData
from laneb.corpus.checkout_tokenizer import record_checkout_tokenizer
from laneb.corpus.shards import build_shards
from laneb.corpus.state import text_of
from laneb.knobs import DataKnobs, ModelKnobs, TrainingKnobs
from laneb.records.corpus import TokenShards
from laneb.records.runs import RunResult
from laneb.training.run_directory import LOG, SPEC, prepare, read_result
from laneb.training.spec import RunSpec, lane_spec

SAMPLED_DOCUMENTS = 200


def job(arguments: argparse.Namespace) -> tuple[ModelKnobs, TrainingKnobs]:
    """What somebody sets; all else is the checkout's own."""
    batch = arguments.rows * arguments.context
    model = ModelKnobs(depth=arguments.depth, max_seq_len=arguments.context)
    training = TrainingKnobs(
        backend="nanochat", nanochat_dir=arguments.directory, nanochat_python=arguments.python, device="auto",
        device_batch_size=arguments.rows, total_batch_size=batch, eval_tokens=16 * batch, eval_every=arguments.steps,
        eval_every_late=arguments.steps,
    )  # fmt: skip
    return model, training


def tokens_of(training: TrainingKnobs, folder: Path) -> TokenShards:
    """The checkout's own data in its own tokens."""
    checkout = find_checkout(training.nanochat_dir, training.nanochat_python)
    corpus = text_of(DataKnobs(), training)
    sample = list(itertools.islice(corpus.documents(), SAMPLED_DOCUMENTS))
    tokenizer = record_checkout_tokenizer(checkout, folder / "tokenizer", dataset_id=corpus.dataset_id, sample=sample)
    shards = build_shards(corpus, tokenizer, folder / "shards", validation_share=DataKnobs().validation_share)
    CheckoutData.in_files(corpus.files, None).write(Path(shards.path))
    return shards


def ours(spec: RunSpec, shards: TokenShards) -> RunSpec:
    """The same run by the built-in trainer."""
    own = {name: field.default for name, field in RunSpec.model_fields.items() if name.startswith("nanochat_")}
    own |= {"backend": "builtin", "corpus_fingerprint": shards.corpus_fingerprint}
    return RunSpec.model_validate(spec.model_dump() | own)


def trained(spec: RunSpec, run_dir: Path) -> RunResult:
    """The result of a process of its own."""
    prepare(run_dir, spec)
    command = [sys.executable, "-m", "laneb.training", str(run_dir / SPEC)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    result = read_result(run_dir, spec)
    if result is None:
        last = (ended.stderr.strip().splitlines() or [""])[-1]
        raise SystemExit(f"{run_dir.name} failed (exit {ended.returncode}): {last}; its log: {run_dir / LOG}")
    return result


def report(results: dict[str, list[RunResult]], seeds: Sequence[int]) -> None:
    """Both trainers' losses by seed, and their speeds."""
    print(f"{'trainer':<10}{'seed':>6}{'final bpb':>12}{'tokens/s':>12}{'ms/step':>10}")
    for trainer, runs in results.items():
        for seed, run in zip(seeds, runs, strict=True):
            print(
                f"{trainer:<10}{seed:>6}{run.final_val_bpb or 0:>12.4f}{run.tok_per_sec_median or 0:>12,.0f}"
                f"{run.dt_median_ms or 0:>10,.0f}"
            )
    pairs = list(zip(results["built-in"], results["checkout"], strict=True))
    gaps = [(a.final_val_bpb or 0) - (b.final_val_bpb or 0) for a, b in pairs]
    speeds = [(a.tok_per_sec_median or 0) / b.tok_per_sec_median for a, b in pairs if b.tok_per_sec_median]
    losses = [run.final_val_bpb or 0 for run in results["checkout"]]
    spread = f"{statistics.stdev(losses):.4f}" if len(losses) > 1 else "unknown with one seed"
    print(
        f"built-in - checkout: {', '.join(f'{gap:+.4f}' for gap in gaps)} bpb; the checkout's sd over seeds: {spread}"
    )
    if speeds:
        print(f"built-in / checkout: {', '.join(f'{speed:.2f}x' for speed in speeds)} tokens per second")


def main() -> None:
    """Train both with each seed, in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", nargs="?", default="")
    parser.add_argument("--python", default="", help="the checkout's interpreter; by default that of its .venv")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", default="41,42")
    arguments = parser.parse_args()
    if not arguments.directory:
        print("no checkout is given, so there is nothing to compare with: benchmarks/against_checkout.py DIR")
        return
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    model, training = job(arguments)
    results: dict[str, list[RunResult]] = {"built-in": [], "checkout": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shards = tokens_of(training, folder)
        for seed in seeds:
            spec = lane_spec(shards, model, training, seed=seed, steps=arguments.steps)
            results["checkout"].append(trained(spec, folder / f"checkout_{seed}"))
            results["built-in"].append(trained(ours(spec, shards), folder / f"builtin_{seed}"))
    report(results, seeds)


if __name__ == "__main__":
    main()
