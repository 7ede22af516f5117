"""An upper bound on the conditional entropy: how well n-grams of some documents predict others.

The cross-entropy of any predictor that sees L tokens is, on text it was not made from, at least the entropy given L
tokens, on average. The predictor here is the n-gram model with absolute discounting, each order falling back on the
one below and the lowest on the uniform distribution:

    P_k(w | c) = (max(n(c w) - d, 0) + d T(c) P_{k-1}(w | c')) / n(c),    d = n_1 / (n_1 + 2 n_2),

with n(c w) and n(c) counts, T(c) the distinct tokens seen after c, c' the context less its first token, and n_1, n_2
the numbers of (k+1)-grams seen once and twice. A context never seen leaves the prediction as it was.
Source: Ney, Essen and Kneser 1994, "On structuring probabilistic dependences in stochastic language modelling".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.correlation import reach_of
from laneb.statistics.grams import Repeated
from laneb.statistics.symbols import FloatArray, Symbols

EVERY = 5
"""One document in so many is held out; where there are fewer documents, the last such share of the tokens."""

GAIN = 0.01
PATIENCE = 2
"""Orders are raised until so many in a row gain less than `GAIN` bits together: longer contexts keep the bound."""


class HeldOut:
    """The n-gram predictor, made order by order from the n-grams of each length (see `repeated_ngrams`).

    Args:
        symbols: the sequence, N tokens.
        starts: [D] where documents begin.
        vocab_size: tokens that could occur, over which the lowest order is uniform.
        longest: longest context length asked for.
    """

    def __init__(self, symbols: Symbols, starts: NDArray[np.int64], vocab_size: int, longest: int) -> None:
        size = symbols.size
        self.held = held_out_positions(starts, size)
        edges = np.concatenate([[0], np.flatnonzero(self.held[1:] != self.held[:-1]) + 1])
        self.reach = reach_of(size, edges, np.array([longest + 1]))
        self.reach[self.held] = 0
        self.probability = np.full(size, 1.0 / max(vocab_size, symbols.counts.size))
        self.parents: NDArray[np.intp] = np.zeros(1, dtype=np.intp)
        self.bits: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether longer contexts have stopped to help."""
        recent = self.bits[-PATIENCE - 1 :]
        return len(recent) > PATIENCE and recent[0] - min(recent[1:]) < GAIN

    def see(self, repeated: Repeated) -> None:
        """Raise the order by one, from the n-grams of the next length."""
        if self.finished:
            return
        positions, starts, sizes, n = repeated.positions, repeated.starts, repeated.sizes, repeated.length
        counts = np.add.reduceat((self.reach.take(positions, mode="clip") >= n).astype(np.int32), starts)
        begins_parent = np.zeros(positions.size, dtype=np.bool_)
        begins_parent[self.parents] = True
        parent = np.cumsum(begins_parent[starts]) - 1
        context_counts = np.bincount(parent, counts)
        kinds = np.bincount(parent, counts > 0)
        discount = self._discount(counts, int(np.count_nonzero(self.reach >= n)))

        target = positions + (n - 1)
        inside = np.flatnonzero(target < self.held.size)
        asked = inside.take(np.flatnonzero(self.held.take(target.take(inside), mode="clip")))
        ngram = np.repeat(np.arange(starts.size), sizes).take(asked)
        seen = np.flatnonzero(context_counts[parent[ngram]] > 0)
        asked, ngram = asked[seen], ngram[seen]
        context, place = parent[ngram], target[asked]
        kept = np.maximum(counts[ngram] - discount, 0.0) + discount * kinds[context] * self.probability[place]
        self.probability[place] = kept / context_counts[context]

        self.bits.append(float(-np.log2(self.probability[self.held]).mean()))
        repeats = sizes[sizes > 1]
        self.parents = np.concatenate([[0], np.cumsum(repeats)[:-1]])

    @staticmethod
    def _discount(counts: NDArray[np.int32], total: int) -> float:
        once = total - int(counts[counts > 1].sum())
        twice = int(np.count_nonzero(counts == 2))
        return min(max(once / max(once + 2 * twice, 1), 0.01), 0.99)

    def bound(self, lengths: NDArray[np.int64]) -> FloatArray:
        """[K] bits at each context length: the best order that needs no longer context."""
        best = np.minimum.accumulate(self.bits)
        return np.asarray(best[np.minimum(lengths, best.size - 1)])


def held_out_positions(starts: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """[N] whether a token is predicted rather than learned from."""
    held = np.zeros(size, dtype=np.bool_)
    if starts.size < EVERY:
        held[min(size - size // EVERY, size - 1) :] = True
        return held
    ends = np.append(starts[1:], size)
    for start, end in zip(starts[EVERY - 1 :: EVERY].tolist(), ends[EVERY - 1 :: EVERY].tolist(), strict=True):
        held[start:end] = True
    return held
