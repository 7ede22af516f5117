"""Compiled runs: what is compiled when. How good the compiler's code is, is torch's to test."""

from functools import partial

import pytest
import torch
from small_runs import Runs

from laneb.corpus.shards import open_shards
from laneb.training.devices import Device
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.loop import Training
from laneb.training.reporting import Reporter


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows with each compilation: whether gradients were wanted of it, as a training pass does."""
    found: list[bool] = []

    def note(graph, inputs):
        found.append(torch.is_grad_enabled())
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=note))
    yield found
    torch.compiler.reset()


def train(runs: Runs, run_dir, spec, stop_after: int | None = None) -> Training:
    stop = StopRequest()

    def say(sentence: str) -> None:
        if f"step {stop_after} of" in sentence:
            stop.signal_number = 15

    reporter = Reporter(run_dir, spec, say)
    training = Training(spec, run_dir, open_shards(spec.shards_path), Device(spec), reporter, stop)
    try:
        training.run()
    except Interrupted:
        pass
    finally:
        reporter.close()
    return training


def test_each_start_compiles_its_training_pass_once_before_its_first_step(runs, compilations):
    # 10 rows in batches of 4 leave a smaller last one.
    spec = runs.spec(eval_tokens=160, steps=16).model_copy(update={"compile": True})
    run_dir = runs.prepared(spec)
    assert train(runs, run_dir, spec, stop_after=12).progress.step == 12
    assert compilations[0] and compilations.count(True) == 1
    compilations.clear()
    torch.compiler.reset()
    assert train(runs, run_dir, spec).progress.step == 16
    assert compilations[0] and compilations.count(True) == 1
