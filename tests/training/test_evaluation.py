import math

import numpy as np
import pytest
import torch

from laneb.model.gpt import GPT
from laneb.training.devices import Device
from laneb.training.evaluation import bits_per_byte


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
