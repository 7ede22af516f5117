"""The examples in the docstrings say what the code does."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "laneb.inference.horizon", "laneb.inference.loss_curve", "laneb.inference.parametric", "laneb.inference.ratio",
        "laneb.inference.robust", "laneb.inference.seeds", "laneb.inference.checks", "laneb.statistics.power_law",
        "laneb.decision.candidates", "laneb.decision.looks", "laneb.decision.paired", "laneb.decision.reach",
        "laneb.decision.summary", "laneb.decision.threshold", "laneb.planning.design", "laneb.planning.lanes",
        "laneb.report.plan", "laneb.training.surface",
    ],
)  # fmt: skip
def test_the_examples_run(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
