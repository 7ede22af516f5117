"""Speed of the dataset statistics against the plain way on the same tokens in one run, results compared.

By default 2,097,152 tokens of the running Python's library under a vocabulary of 32,768: correlation at lags 1-64,
entropy at 8 context lengths, both fits. The plain way runs once, ours as a new process would (its first call) and
then again; on two cores the ratio should be at least 25.

    python benchmarks/dataset_statistics.py [--tokens 2097152] [--vocab-size 32768]
    python benchmarks/dataset_statistics.py --large 20000000     ours alone, on a generated source, with its peak memory
    python benchmarks/dataset_statistics.py --coverage 200       how often the exponents' intervals hold the truth
    python benchmarks/dataset_statistics.py --method             the figures of docs/method.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import reference_statistics as plain
from numpy.typing import NDArray

from laneb.training.hardware import peak_resident_mib

if TYPE_CHECKING:
    from laneb.records.statistics import DatasetStats

# Scripts in this folder may have a library's name, which must not be imported in its place.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

LAGS = list(range(1, 65))
LENGTHS = [1, 2, 3, 6, 11, 20, 35, 64]
NEEDED_RATIO = 25.0


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and its result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def library_tokens(size: int, vocab_size: int) -> NDArray[np.int64]:
    """The first tokens of the embedded corpus."""
    from laneb.corpus.documents import open_corpus
    from laneb.corpus.tokenizer import load_tokenizer, train_tokenizer

    corpus = open_corpus("", max_bytes=4 * size + (1 << 22))
    with tempfile.TemporaryDirectory() as folder:
        texts = list(corpus.documents())
        train_tokenizer(texts, vocab_size, max_bytes=1 << 24, directory=Path(folder), dataset_id="library")
        encoded = load_tokenizer(Path(folder)).encode_batch(texts)
    tokens = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in encoded])
    return tokens[:size]


def generated_tokens(size: int, vocab_size: int, seed: int = 0) -> NDArray[np.uint16]:
    """A source with Zipf's frequencies that repeats stretches of what came shortly before, as text does."""
    generator = np.random.default_rng(seed)
    drawn = np.minimum(generator.zipf(1.3, size), vocab_size).astype(np.uint16) - np.uint16(1)
    begins = np.flatnonzero(generator.random(size) < 0.04)
    begins = begins[begins > 5000]
    for begin, back, many in zip(
        begins.tolist(),
        generator.integers(20, 5000, begins.size).tolist(),
        generator.geometric(0.06, begins.size).tolist(),
        strict=True,
    ):
        many = min(many, back, size - begin)
        drawn[begin : begin + many] = drawn[begin - back : begin - back + many]
    return drawn


def ours(tokens: NDArray[Any]) -> tuple[Any, Any, dict[str, float]]:
    """Norms, entropies and seconds by part."""
    from laneb.statistics import conditional_entropies, correlation_norms, fit_power_law, fit_shifted_power_law

    seconds = {}
    seconds["correlation, 64 lags"], norms = clocked(lambda: correlation_norms(tokens, LAGS))
    seconds["entropy, 8 lengths"], measured = clocked(lambda: conditional_entropies(tokens, LENGTHS))
    seconds["power-law fit"], _ = clocked(lambda: fit_power_law(LAGS, norms))
    seconds["shifted fit"], _ = clocked(lambda: fit_shifted_power_law(LENGTHS, measured.bits))
    return norms, measured, seconds


def compare(size: int, vocab_size: int) -> int:
    """Print the table; 0 if results agree and the ratio is reached."""
    tokens = library_tokens(size, vocab_size)
    print(f"{tokens.size:,} tokens, {np.unique(tokens).size:,} of them distinct")
    norms, measured, first = ours(tokens)
    warm = min((ours(tokens)[2] for _ in range(3)), key=lambda seconds: sum(seconds.values()))
    x, lengths = np.array(LAGS, dtype=float), np.array(LENGTHS, dtype=float)
    slow = {}
    slow["correlation, 64 lags"], wanted = clocked(lambda: plain.plain_correlation_norms(tokens, LAGS, vocab_size))
    slow["entropy, 8 lengths"], entropies = clocked(lambda: plain.plain_entropies(tokens, LENGTHS))
    slow["power-law fit"], _ = clocked(lambda: plain.plain_power_law(x, norms))
    slow["shifted fit"], _ = clocked(lambda: plain.plain_shifted_power_law(lengths, measured.bits))

    print(f"{'':24s}{'plain':>10s}{'first call':>12s}{'again':>10s}{'ratio':>8s}")
    for part, seconds in slow.items():
        print(f"{part:24s}{seconds:9.2f}s{first[part]:11.2f}s{warm[part]:9.2f}s{seconds / warm[part]:7.0f}x")
    total, cold, again = sum(slow.values()), sum(first.values()), sum(warm.values())
    print(f"{'all':24s}{total:9.2f}s{cold:11.2f}s{again:9.2f}s{total / again:7.0f}x  (first call {total / cold:.0f}x)")
    squared = float(np.abs(norms**2 - np.square(wanted)).max())
    bits = float(np.abs(measured.bits - [row[0] for row in entropies]).max())
    print(f"largest difference: {squared:.1e} on the squared norms, {bits:.1e} bits on the entropies")
    agree = squared < 1e-12 and bits < 1e-9 and measured.distinct_contexts.tolist() == [row[1] for row in entropies]
    if not agree or total / again < NEEDED_RATIO:
        print(f"FAILED: results must agree and the ratio be at least {NEEDED_RATIO:.0f}")
        return 1
    return 0


def large(size: int, vocab_size: int) -> int:
    """Ours alone on many tokens: all 64 context lengths, seconds and peak memory."""
    from laneb.statistics import conditional_entropies, correlation_norms

    tokens = generated_tokens(size, vocab_size)
    before = peak_resident_mib() / 2**10
    correlation, _ = clocked(lambda: correlation_norms(tokens, LAGS))
    entropy, measured = clocked(lambda: conditional_entropies(tokens, LAGS))
    peak = peak_resident_mib() / 2**10
    print(f"{size:,} tokens: correlation {correlation:.1f} s, entropy at 64 lengths {entropy:.1f} s, "
          f"peak {peak:.1f} GiB ({before:.1f} before)")  # fmt: skip
    print("bits at 1, 2, 3 tokens of context:", measured.bits[:3].round(4).tolist())
    return 0


def method() -> int:
    """What docs/method.md quotes: the running Python's library under a vocabulary of 2,048, and a Markov source."""
    from laneb.corpus.documents import open_corpus
    from laneb.corpus.tokenizer import load_tokenizer, train_tokenizer
    from laneb.knobs import StatisticsKnobs
    from laneb.statistics import conditional_entropies, measure_dataset

    texts = list(open_corpus("", max_bytes=30_000_000).documents())
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer(texts, 2048, max_bytes=10_000_000, directory=Path(folder), dataset_id="library")
        tokenizer = load_tokenizer(Path(folder))
        documents = [np.array([tokenizer.bos_id, *ids], dtype=np.uint16) for ids in tokenizer.encode_batch(texts)]
    starts = np.cumsum([0, *(document.size for document in documents)])[:-1]
    for size in (262_144, 2_097_152):
        tokens = np.concatenate(documents)[:size]
        stats = measure_dataset(
            tokens, starts[starts < size], knobs=StatisticsKnobs(), dataset_id="", tokenizer_id="", split="train",
            vocab_size=2048,
        )  # fmt: skip
        show_statistics(stats)
    print_resampled(tokens, starts[starts < tokens.size], stats)
    source, rate = plain.markov_sample(0, 30_000, 40)
    found = conditional_entropies(source, [2])
    print(f"Markov source of {rate:.4f} bits, {found.samples_per_context[0]:.0f} samples a context: plug-in "
          f"{found.bits[0]:.3f}, Miller-Madow {found.miller_madow_bits[0]:.3f}, Grassberger "
          f"{found.grassberger_bits[0]:.3f}")  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 50, 100_000)
    flat = measure_dataset(
        noise, [0], knobs=StatisticsKnobs(), dataset_id="", tokenizer_id="", split="train", vocab_size=50
    )
    ratio = np.mean([(point.frobenius_norm / (point.noise_floor or 1.0)) ** 2 for point in flat.corr_curve])
    print(f"100,000 independent tokens: squared norm {ratio:.4f} times the noise floor's, over 64 lags")
    return 0


def show_statistics(stats: DatasetStats) -> None:
    """The exponents of a sample, and the brackets at its shortest contexts."""
    assert stats.corr_corrected_fit is not None and stats.entropy_decay_exponent_interval is not None
    print(f"{stats.num_tokens_sampled:,} tokens of this Python's library, {stats.num_docs_sampled} documents")
    last, corrected = stats.corr_curve[-1], stats.corr_corrected_fit.exponent
    print(f"  correlation exponent {stats.corr_decay_exponent:.3f}, noise taken off {corrected:.3f}")
    print(f"  within documents at lag {last.separation} {last.within_document_norm:.4f}, shuffled documents "
          f"{stats.corr_document_floor:.4f}")  # fmt: skip
    low, high = stats.entropy_decay_exponent_interval
    print(f"  entropy exponent {stats.entropy_decay_exponent:.2f} ({low:.2f} to {high:.2f}), R^2 "
          f"{stats.entropy_decay_r2:.3f}, usable lengths {stats.entropy_usable_context_lens}")  # fmt: skip
    for estimate in stats.entropy_estimates[:3]:
        print(f"    at {estimate.context_len}: {estimate.plug_in_bits:.2f} to {estimate.held_out_bits:.2f} bits, "
              f"{estimate.samples_per_context:.0f} samples a context")  # fmt: skip


def print_resampled(tokens: NDArray[Any], starts: NDArray[np.int64], stats: DatasetStats) -> None:
    """The plug-in curve when blocks of documents are drawn with replacement and counted anew."""
    from laneb.statistics import conditional_entropies, fit_shifted_power_law
    from laneb.statistics.intervals import block_edges

    blocks = np.split(tokens, block_edges(starts, tokens.size)[1:-1])
    lengths = [point.context_len for point in stats.entropy_curve]
    draws = np.random.default_rng(0).integers(len(blocks), size=(5, len(blocks)))
    curves = [conditional_entropies(np.concatenate([blocks[b] for b in draw]), lengths).bits for draw in draws]
    exponents = [fit_shifted_power_law(lengths, curve).exponent for curve in curves]
    print(f"  blocks drawn with replacement and counted anew: {np.mean([curve[0] for curve in curves]):.2f} bits at "
          f"{lengths[0]}, exponent {min(exponents):.2f} to {max(exponents):.2f}")  # fmt: skip


def coverage(rounds: int) -> int:
    """How often a 95 % interval holds the mean exponent of many samples of one source of documents."""
    from laneb.knobs import StatisticsKnobs
    from laneb.statistics import measure_dataset

    knobs = StatisticsKnobs(corr_max_sep=32, ent_max_ctx=6, ent_num_points=6, fit_optuna_trials=1)
    rows = []
    for seed in range(rounds):
        tokens, starts = plain.document_sample(seed, 90_000)
        stats = measure_dataset(
            tokens, starts, knobs=knobs, dataset_id="", tokenizer_id="", split="train", vocab_size=20
        )
        assert stats.corr_decay_exponent_interval and stats.entropy_decay_exponent_interval
        rows.append(
            (
                (stats.corr_decay_exponent, *stats.corr_decay_exponent_interval),
                (stats.entropy_decay_exponent, *stats.entropy_decay_exponent_interval),
            )
        )
    table = np.array(rows)
    for name, part in (("correlation", table[:, 0]), ("entropy", table[:, 1])):
        truth, spread = part[:, 0].mean(), part[:, 0].std()
        held = np.mean((part[:, 1] <= truth) & (truth <= part[:, 2]))
        print(f"{name} exponent {truth:.4f}, sd {spread:.4f}: {held:.1%} of {rounds} intervals hold it")
    return 0


def main() -> int:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2_097_152)
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--large", type=int, metavar="TOKENS")
    parser.add_argument("--coverage", type=int, metavar="ROUNDS")
    parser.add_argument("--method", action="store_true")
    options = parser.parse_args()
    if options.method:
        return method()
    if options.coverage:
        return coverage(options.coverage)
    if options.large:
        return large(options.large, options.vocab_size)
    return compare(options.tokens, options.vocab_size)


if __name__ == "__main__":
    sys.exit(main())
