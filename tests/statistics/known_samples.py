"""Samples whose whole record is kept in known_statistics.json, so that no number of it moves unseen.

The numbers are held by naive counts and by sources of known entropy; where a change is meant, write the file anew and
read its difference: PYTHONPATH=tests/helpers python tests/statistics/known_samples.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from kept_answers import rounded
from naive_statistics import markov_source

from laneb.knobs import StatisticsKnobs
from laneb.statistics import measure_dataset

KNOWN = Path(__file__).parent / "known_statistics.json"
SAMPLES: dict[str, dict[str, Any]] = {
    "documents of a hundred": {"document": 100},
    "enough for a usable entropy": {"document": 100, "symbols": 3},
    "one document": {"document": 6000},
    "few documents": {"document": 1900, "knobs": {"ent_min_usable_points": 3, "ent_num_points": 4}},
    "starved": {"document": 120, "size": 700, "symbols": 200,
                "knobs": {"ent_max_ctx": 16, "ent_uniqueness_threshold": 0.5}},
    "with its operator norm": {"document": 90, "size": 3000, "knobs": {"corr_operator_norm": True, "corr_min_sep": 2}},
}  # fmt: skip


def measured(name: str) -> dict[str, Any]:
    """The record of a sample's statistics, without the time at which it was made."""
    sample = SAMPLES[name]
    size = sample.get("size", 6000)
    tokens, _ = markov_source(size, sample.get("symbols", 20), seed=3)
    knobs = {"corr_max_sep": 8, "ent_max_ctx": 8, "fit_optuna_trials": 5, **sample.get("knobs", {})}
    record = measure_dataset(
        np.asarray(tokens), np.arange(0, size, sample["document"]), knobs=StatisticsKnobs(**knobs), dataset_id="d",
        tokenizer_id="t", split="train", vocab_size=256,
    )  # fmt: skip
    answer: dict[str, Any] = record.model_dump(mode="json")
    del answer["timestamp_utc"]
    return answer


if __name__ == "__main__":
    answers = {name: rounded(measured(name), 9) for name in SAMPLES}
    KNOWN.write_text(json.dumps(answers, indent=None, sort_keys=True) + "\n", encoding="utf-8")
