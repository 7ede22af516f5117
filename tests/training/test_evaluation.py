import math

import numpy as np
import pytest
import torch

from laneb.model.gpt import GPT
from laneb.training.devices import Device
from laneb.training.evaluation import bits_per_byte, context_bins, loss_by_context


def test_bits_per_byte_counts_bytes_of_text_and_leaves_specials_out(runs):
    spec = runs.spec()
    model = GPT(spec.shape)
    model.initialise(1)
    device = Device(spec)
    rows = np.random.default_rng(1).integers(0, spec.vocab_size, size=(6, spec.max_seq_len + 1))
    rows[:, 5] = 0
    token_bytes = torch.arange(spec.vocab_size) % 4
    found = bits_per_byte(model, [rows[:4], rows[4:]], token_bytes, device)
    inputs, targets = torch.from_numpy(rows[:, :-1]), torch.from_numpy(rows[:, 1:])
    losses, lengths = model.losses(inputs, targets).double(), token_bytes[targets]
    expected = (losses * (lengths > 0)).sum() / (math.log(2) * lengths.sum())
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_an_evaluation_without_text_is_refused(runs):
    spec = runs.spec()
    model = GPT(spec.shape)
    model.initialise(1)
    rows = np.zeros((1, spec.max_seq_len + 1), dtype=np.int64)
    with pytest.raises(ValueError, match="special tokens only"):
        bits_per_byte(model, [rows], torch.zeros(spec.vocab_size, dtype=torch.int64), Device(spec))


@pytest.mark.parametrize("longest", [1, 2, 8, 16, 127, 128, 2048])
def test_bins_of_context_hold_each_length_once_and_are_even_in_the_logarithm(longest):
    bins = context_bins(longest)
    assert [n for first, last in bins for n in range(first, last + 1)] == list(range(1, longest + 1))
    assert all(last + 1 <= 1.25 * first + 1 for first, last in bins)
    assert len(bins) <= 4 * math.log2(longest) + 1


def test_the_loss_by_context_is_the_mean_over_rows_with_the_error_of_its_shape(runs):
    spec = runs.spec()
    model = GPT(spec.shape)
    model.initialise(1)
    rows = np.random.default_rng(1).integers(0, spec.vocab_size, size=(6, spec.max_seq_len + 1))
    curve = loss_by_context(model, [rows[:4], rows[4:]], Device(spec))
    losses = model.losses(torch.from_numpy(rows[:, :-1]), torch.from_numpy(rows[:, 1:])).double().numpy() / math.log(2)
    for first, last, bits, error in curve:
        own = losses[:, first - 1 : last].mean(axis=1)
        assert bits == pytest.approx(own.mean(), rel=1e-6)
        assert error == pytest.approx((own - losses.mean(axis=1)).std(ddof=1) / math.sqrt(6), rel=1e-4)


def test_one_row_gives_no_loss_by_context(runs):
    spec = runs.spec()
    model = GPT(spec.shape)
    model.initialise(1)
    row = np.ones((1, spec.max_seq_len + 1), dtype=np.int64)
    assert loss_by_context(model, [row], Device(spec)) is None
    assert loss_by_context(model, [], Device(spec)) is None
