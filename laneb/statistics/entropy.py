"""How uncertain the next token is, given the tokens before it.

The plug-in conditional entropy at context length L is H(next | previous L) = H(L+1-grams) - H(L-grams), both counted
over the N - L positions that have a context and a next token. It is low by about (distinct L+1-grams - distinct
L-grams) / (2 (N - L)) nats: with few samples per context it measures the sample, not the text. The corrections beside
it come from the same counts:

- Miller-Madow adds that first-order bias. Source: Miller 1955, "Note on the bias of information estimates".
- Grassberger replaces n log n by n G(n), with G(1) = -gamma - log 2, G(2) = 2 - gamma - log 2, G(2k+1) = G(2k),
  G(2k+2) = G(2k) + 2 / (2k+1), nearly unbiased for small counts. Source: Grassberger 2003, arXiv:physics/0307138.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.statistics.grams import Multiplicities, Repeated, all_unique, multiplicities, repeated_ngrams
from laneb.statistics.symbols import FloatArray, Symbols, as_symbols, distances


@dataclass(frozen=True)
class ConditionalEntropies:
    """Entropy of the next token at each context length, in bits, and how well it is sampled.

    Attributes:
        context_lengths: [K] tokens of context.
        bits: [K] the plug-in estimate.
        distinct_contexts: [K] int64, contexts that occur.
        singleton_share: [K] share of the distinct contexts that occur once.
        distinct_ngrams: [K] int64, contexts with a next token that occur.
        samples_per_context: [K] positions divided by distinct contexts.
        miller_madow_bits: [K] the plug-in with its first-order bias taken off.
        grassberger_bits: [K] Grassberger's estimate.
    """

    context_lengths: NDArray[np.int64]
    bits: FloatArray
    distinct_contexts: NDArray[np.int64]
    singleton_share: FloatArray
    distinct_ngrams: NDArray[np.int64]
    samples_per_context: FloatArray
    miller_madow_bits: FloatArray
    grassberger_bits: FloatArray


def conditional_entropies(tokens: ArrayLike, context_lengths: ArrayLike) -> ConditionalEntropies:
    """Conditional entropies of the next token, all context lengths from one pass over the n-grams.

    Args:
        tokens: [N] non-negative integers of any integer type, N >= 2.
        context_lengths: [K] tokens of context, 0 (none) to N - 1, in any order.

    Returns:
        Arrays of K values; entropies in bits per token.

    Raises:
        ValueError: tokens that aren't a sequence of two or more non-negative integers, or a length out of range.
    """
    symbols = as_symbols(tokens)
    return entropies(symbols, distances("context_lengths", context_lengths, 0, symbols.size))


def entropies(symbols: Symbols, lengths: NDArray[np.int64], *observers: Observer) -> ConditionalEntropies:
    """See `conditional_entropies`; every observer is shown the repeated n-grams of each length in the same pass."""
    if lengths.size == 0:
        return _table(lengths, [])
    counter = _Counter(symbols.size, lengths.tolist())
    for repeated in repeated_ngrams(symbols, int(lengths.max()) + 1):
        counter.see(repeated)
        for observer in observers:
            observer.see(repeated)
    return _table(lengths, [_row(*counter.counts(length)) for length in lengths.tolist()])


class Observer(Protocol):
    """What wants to see the n-grams of each length, 1 first."""

    def see(self, repeated: Repeated) -> None:
        """Take in the repeated n-grams of the next length."""


class _Counter:
    """Multiplicities of the contexts over the positions that have a next token, and of the contexts with it."""

    def __init__(self, size: int, lengths: list[int]) -> None:
        self.size = size
        self.needed = {*lengths, *(length + 1 for length in lengths)}
        self.ngrams: dict[int, Multiplicities] = {}
        self.contexts: dict[int, Multiplicities] = {0: Multiplicities(np.array([size]), np.ones(1, np.int64))}

    def see(self, repeated: Repeated) -> None:
        length = repeated.length
        if length in self.needed:
            self.ngrams[length] = multiplicities(repeated)
            if length < self.size:
                self.contexts[length] = self.ngrams[length].without_one_of(_last_occurs(repeated, self.size))

    def counts(self, length: int) -> tuple[Multiplicities, Multiplicities]:
        contexts = self.contexts.get(length) or all_unique(self.size - 1, length)
        return contexts, self.ngrams.get(length + 1) or all_unique(self.size, length + 1)


def _table(lengths: NDArray[np.int64], rows: list[tuple[float, ...]]) -> ConditionalEntropies:
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return ConditionalEntropies(
        context_lengths=lengths,
        bits=table[:, 0],
        distinct_contexts=table[:, 1].astype(np.int64),
        singleton_share=table[:, 2],
        distinct_ngrams=table[:, 3].astype(np.int64),
        samples_per_context=table[:, 4],
        miller_madow_bits=table[:, 5],
        grassberger_bits=table[:, 6],
    )


def _last_occurs(repeated: Repeated, size: int) -> int:
    """How often the last n-gram of the sequence occurs: it is a context without a next token."""
    place = np.flatnonzero(repeated.positions == size - repeated.length)
    if place.size == 0:
        return 1
    group = int(np.searchsorted(repeated.starts, place[0], side="right")) - 1
    return int(repeated.sizes[group])


def _row(contexts: Multiplicities, ngrams: Multiplicities) -> tuple[float, ...]:
    positions = contexts.total
    bits = max(_n_log_n(contexts) - _n_log_n(ngrams), 0.0) / positions
    bias = (ngrams.distinct - contexts.distinct) / (2.0 * positions * math.log(2.0))
    grassberger = (_n_g(contexts) - _n_g(ngrams)) / (positions * math.log(2.0))
    return (
        bits,
        contexts.distinct,
        contexts.singletons / contexts.distinct,
        ngrams.distinct,
        positions / contexts.distinct,
        bits + bias,
        grassberger,
    )


def _n_log_n(counted: Multiplicities) -> float:
    """Sum of n log2 n over the n-grams, n their occurrences."""
    return math.fsum(counted.ngrams * counted.occurrences * np.log2(counted.occurrences))


def _n_g(counted: Multiplicities) -> float:
    """Sum of n G(n) over the n-grams [nats]; in closed form, G(n) = psi(floor(n / 2) + 1/2) + log 2."""
    from scipy.special import digamma

    g = digamma(counted.occurrences // 2 + 0.5) + math.log(2.0)
    return math.fsum(counted.ngrams * counted.occurrences * g)
