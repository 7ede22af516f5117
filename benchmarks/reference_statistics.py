"""Dataset statistics the plain way: `np.unique` on packed pairs, dictionaries of contexts, Optuna alone for the fit."""

from __future__ import annotations

import math

import numpy as np
import optuna
from numpy.typing import NDArray


def plain_correlation_norms(tokens: NDArray[np.int64], lags: list[int], vocab_size: int) -> list[float]:
    """||C(n)||_F with one `np.unique` a lag."""
    share = np.bincount(tokens, minlength=vocab_size) / tokens.size
    collision = float(np.sum(share**2))
    norms = []
    for lag in lags:
        packed, counts = np.unique(tokens[:-lag] * vocab_size + tokens[lag:], return_counts=True)
        joint = counts / (tokens.size - lag)
        product = share[packed // vocab_size] * share[packed % vocab_size]
        squared = np.sum(joint**2) - 2 * np.sum(joint * product) + collision**2
        norms.append(max(math.sqrt(max(float(squared), 0.0)), 1e-12))
    return norms


def plain_entropies(tokens: NDArray[np.int64], lengths: list[int]) -> list[tuple[float, int, float]]:
    """Bits, distinct contexts and singleton share from a dictionary of contexts, each with its next tokens."""
    listed = tokens.tolist()
    found = []
    for length in lengths:
        contexts: dict[tuple[int, ...], dict[int, int]] = {}
        for position in range(len(listed) - length):
            following = contexts.setdefault(tuple(listed[position : position + length]), {})
            token = listed[position + length]
            following[token] = following.get(token, 0) + 1
        bits, singletons = 0.0, 0
        for following in contexts.values():
            total = sum(following.values())
            singletons += total == 1
            bits -= sum(count * math.log2(count / total) for count in following.values())
        found.append((bits / (len(listed) - length), len(contexts), singletons / len(contexts)))
    return found


def plain_power_law(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Exponent and R^2 of a x^-p, Optuna searching the exponent."""
    return _search(x, y, offset=False, trials=200)[:2]


def plain_shifted_power_law(
    x: NDArray[np.float64], y: NDArray[np.float64], trials: int = 200, seed: int = 42
) -> tuple[float, float, float]:
    """Exponent, R^2 and offset of a x^-g + b, Optuna searching exponent and offset."""
    return _search(x, y, offset=True, trials=trials, seed=seed)


def _search(
    x: NDArray[np.float64], y: NDArray[np.float64], offset: bool, trials: int, seed: int = 42
) -> tuple[float, float, float]:
    variance = float(np.sum((y - y.mean()) ** 2))

    def r2(trial: optuna.Trial) -> float:
        basis = x ** -trial.suggest_float("exponent", 0.01, 4.0)
        lifted = y - (trial.suggest_float("offset", 0.0, float(y.min()) * (1 - 1e-6)) if offset else 0.0)
        amplitude = float(basis @ lifted) / float(basis @ basis)
        return 1.0 - float(np.sum((lifted - amplitude * basis) ** 2)) / variance

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(r2, n_trials=trials)
    return study.best_params["exponent"], study.best_value, study.best_params.get("offset", 0.0)


def document_sample(seed: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Documents of three Markov sources of 20 symbols that copy tokens from a heavy-tailed distance back."""
    sources = np.cumsum(np.random.default_rng(0).dirichlet(np.full(20, 0.3), (3, 20)), axis=2)
    generator = np.random.default_rng(seed + 1)
    tokens: list[int] = []
    starts = []
    while len(tokens) < size:
        starts.append(len(tokens))
        source, copies = sources[generator.integers(0, 3)], generator.uniform(0.1, 0.5)
        many = int(generator.lognormal(6.0, 0.7)) + 20
        copied, back, drawn = generator.random(many) < copies, 1.0 / generator.random(many), generator.random(many)
        document = [0]
        for index in range(1, many):
            if copied[index]:
                document.append(document[-min(int(back[index]), index)])
            else:
                document.append(min(int(np.searchsorted(source[document[-1]], drawn[index])), 19))
        tokens += document
    return np.array(tokens[:size]), np.array(starts)


def markov_sample(seed: int, size: int, symbols: int) -> tuple[NDArray[np.int64], float]:
    """Tokens of a Markov source, and its entropy rate in bits."""
    generator = np.random.default_rng(seed)
    transitions = generator.dirichlet(np.ones(symbols), size=symbols)
    share = np.full(symbols, 1.0 / symbols)
    for _ in range(500):
        share = share @ transitions
    rate = -float(np.sum(share[:, None] * transitions * np.log2(np.maximum(transitions, 1e-300))))
    steps, tokens = np.cumsum(transitions, axis=1), [0]
    for draw in generator.random(size - 1):
        tokens.append(min(int(np.searchsorted(steps[tokens[-1]], draw)), symbols - 1))
    return np.array(tokens), rate
