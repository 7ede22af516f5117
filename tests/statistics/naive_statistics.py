"""The definitions, counted plainly: what the fast code has to agree with."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np


def naive_squared_norm(tokens: list[int], lag: int) -> float:
    """||C(lag)||_F^2 from dictionaries."""
    size, pairs = len(tokens), len(tokens) - lag
    single = {token: count / size for token, count in Counter(tokens).items()}
    joint = Counter(zip(tokens[:-lag], tokens[lag:], strict=True))
    return math.fsum(
        [
            *((count / pairs) ** 2 - 2 * count / pairs * single[a] * single[b] for (a, b), count in joint.items()),
            math.fsum(p * p for p in single.values()) ** 2,
        ]
    )


def naive_entropy(tokens: list[int], length: int) -> tuple[float, int, float]:
    """Plug-in conditional entropy in bits, distinct contexts and the share of them that occur once."""
    positions = range(len(tokens) - length)
    contexts = Counter(tuple(tokens[i : i + length]) for i in positions)
    joint = Counter(tuple(tokens[i : i + length + 1]) for i in positions)
    bits = math.fsum(-count * math.log2(count / contexts[gram[:-1]]) for gram, count in joint.items())
    singletons = sum(count == 1 for count in contexts.values())
    return bits / len(positions), len(contexts), singletons / len(contexts)


def markov_source(size: int, symbols: int, seed: int, concentration: float = 1.0) -> tuple[np.ndarray, float]:
    """Tokens of a first-order Markov chain, and its entropy rate in bits."""
    generator = np.random.default_rng(seed)
    transitions = generator.dirichlet(np.full(symbols, concentration), size=symbols)
    values, vectors = np.linalg.eig(transitions.T)
    stationary = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
    stationary /= stationary.sum()
    rate = float(-np.sum(stationary[:, None] * transitions * np.log2(np.maximum(transitions, 1e-300))))
    steps = np.cumsum(transitions, axis=1)
    steps[:, -1] = 1.0
    draws = generator.random(size)
    tokens = np.empty(size, dtype=np.int64)
    state = int(generator.choice(symbols, p=stationary))
    for index in range(size):
        state = int(np.searchsorted(steps[state], draws[index], side="right"))
        tokens[index] = state
    return tokens, rate


def power_law_source(size: int, amplitude: float, exponent: float, seed: int) -> np.ndarray:
    """Tokens 0 and 1 whose lag covariance has Frobenius norm amplitude * lag ** -exponent exactly.

    The signs of a Gaussian process with autocorrelation r have P(1, 1) - 1/4 = arcsin(r) / (2 pi), and so a norm of
    arcsin(r) / pi; r(n) = sin(pi * amplitude * n ** -exponent) is made by circulant embedding.
    """
    lags = np.minimum(np.arange(2 * size), 2 * size - np.arange(2 * size)).astype(float)
    lags[0] = 1.0
    covariance = np.sin(np.pi * amplitude * lags**-exponent)
    covariance[0] = 1.0
    spectrum = np.fft.rfft(covariance).real
    assert spectrum.min() > 0
    generator = np.random.default_rng(seed)
    white = generator.normal(size=(2, spectrum.size)) * np.sqrt(spectrum)
    signal = np.fft.irfft(white[0] + 1j * white[1], n=2 * size)[:size]
    return (signal > 0).astype(np.uint8)


def documents(sizes: list[int], symbols: int, seed: int) -> list[np.ndarray]:
    """Documents of given sizes, each with token frequencies of its own."""
    generator = np.random.default_rng(seed)
    return [generator.choice(symbols, size, p=generator.dirichlet(np.ones(symbols))) for size in sizes]


def joined(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Documents as one sequence and where each begins."""
    return np.concatenate(parts), np.cumsum([0, *(part.size for part in parts[:-1])])
