import copy
import math

import pytest
import torch

from laneb.model.gpt import GPT
from laneb.model.optimizer import Muon, Optimizers, batch_scale, orthogonalise
from laneb.model.scaling import ModelShape

RATES = {"embedding_lr": 0.3, "unembedding_lr": 0.004, "matrix_lr": 0.02, "scalar_lr": 0.5, "weight_decay": 0.2}


def build() -> GPT:
    model = GPT(ModelShape(depth=3, aspect_ratio=32, head_dim=32, max_seq_len=16, vocab_size=128))
    model.initialise(1)
    return model


def step(model: GPT, optimizers: Optimizers, number: int) -> float:
    rows = torch.randint(0, 128, (4, 17), generator=torch.Generator().manual_seed(number))
    loss = model(rows[:, :-1], rows[:, 1:])
    loss.backward()
    optimizers.step(learning_rate=1.0, momentum=0.9, weight_decay=0.5)
    optimizers.zero_grad()
    return loss.item()


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 16, 64), (3, 64, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5 and values.max() < 1.3


def test_muon_updates_as_torchs_own():
    source = torch.Generator().manual_seed(2)
    weights = [torch.randn(24, 16, generator=source), torch.randn(24, 16, generator=source), torch.randn(8, 32)]
    ours, theirs = ([torch.nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    mine = Muon(ours, lr=0.1, momentum=0.9, weight_decay=0.3, dtype=torch.float32)
    reference = torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.3)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=source)
            b.grad = a.grad.clone()
        mine.step()
        reference.step()
    # torch's multiplies in bfloat16
    assert all(torch.allclose(a, b, atol=0.01) for a, b in zip(ours, theirs, strict=True))


def test_rates_scale_with_the_batch_and_adams_with_the_width():
    optimizers = Optimizers(build(), total_batch_size=2**17, **RATES)
    assert batch_scale(2**17) == 0.5
    head, tables, residual, embedding = (group["lr"] for group in optimizers.adam.param_groups)
    wide = 0.5 * math.sqrt(768 / 96)
    assert [head, tables, residual, embedding] == pytest.approx([0.004 * wide, 0.3 * wide, 0.0025, 0.25])
    assert {group["lr"] for group in optimizers.muon.param_groups} == {0.01}


def test_every_parameter_has_one_optimizer():
    model = build()
    optimizers = Optimizers(model, total_batch_size=2**17, **RATES)
    groups = [*optimizers.adam.param_groups, *optimizers.muon.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_a_restored_optimizer_goes_on_bit_for_bit():
    model = build()
    optimizers = Optimizers(model, total_batch_size=2**17, **RATES)
    for number in range(3):
        step(model, optimizers, number)
    weights, state = {k: v.clone() for k, v in model.state_dict().items()}, optimizers.state_dict()
    copied = build()
    copied.load_state_dict(weights)
    restored = Optimizers(copied, total_batch_size=2**17, **RATES)
    restored.load_state_dict(copy.deepcopy(state))
    assert step(copied, restored, 3) == step(model, optimizers, 3)
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), model.parameters(), strict=True))
