import math

import pytest
import torch

from laneb.model.gpt import GPT
from laneb.model.muon import Muon
from laneb.model.optimizer import ADAM_EPSILON, Adam, Optimizers
from laneb.model.recipes import RECIPES, house, recipe_named
from laneb.model.scaling import ModelShape, batch_scale

RATES = {"embedding_lr": 0.3, "unembedding_lr": 0.004, "matrix_lr": 0.02, "scalar_lr": 0.5, "weight_decay": 0.2}


def build(recipe: str = "laneb") -> GPT:
    model = GPT(ModelShape(recipe=recipe, depth=3, aspect_ratio=32, head_dim=32, max_seq_len=16, vocab_size=128))
    model.initialise(1)
    return model


def step(model: GPT, optimizers: Optimizers, number: int) -> float:
    rows = torch.randint(0, 128, (4, 17), generator=torch.Generator().manual_seed(number))
    loss = model(rows[:, :-1], rows[:, 1:])
    loss.backward()
    optimizers.step(learning_rate=1.0, momentum=0.9, weight_decay=0.5)
    optimizers.zero_grad()
    return loss.item()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 16, 64), (3, 64, 16)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape, recipe):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(recipe_named(recipe).orthogonalise(matrices, torch.float32))
    assert values.min() > 0.5 and values.max() < 1.3


def test_muon_updates_as_torchs_own():
    source = torch.Generator().manual_seed(2)
    weights = [torch.randn(24, 16, generator=source) for _ in range(3)]
    ours, theirs = ([torch.nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    mine = Muon(ours, 0.1, 0.3, house.orthogonalise, torch.float32)
    reference = torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.3)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=source)
            b.grad = a.grad.clone()
        mine.step(1.0, 0.9, 1.0)
        reference.step()
    # torch's multiplies in bfloat16
    assert all(torch.allclose(a, b, atol=0.01) for a, b in zip(ours, theirs, strict=True))


def test_adam_updates_as_torchs_own():
    source = torch.Generator().manual_seed(2)
    weights = [torch.randn(24, 16, generator=source), torch.randn(7, generator=source)]
    ours, theirs = ([torch.nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    mine = Adam(ours, 0.2, (0.8, 0.95), 0.1)
    reference = torch.optim.AdamW(theirs, lr=0.1, betas=(0.8, 0.95), eps=ADAM_EPSILON, weight_decay=0.1, fused=True)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=source)
            b.grad = a.grad.clone()
        mine.step(0.5)
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_rates_scale_with_the_batch_and_adams_with_the_width():
    optimizers = Optimizers(build(), total_batch_size=2**17, rates=RATES)
    assert batch_scale(2**17) == 0.5
    head, tables, residual, embedding = (adam.rate for adam in optimizers.adams)
    wide = 0.5 * math.sqrt(768 / 96)
    assert [head, tables, residual, embedding] == pytest.approx([0.004 * wide, 0.3 * wide, 0.0025, 0.25])
    assert {muon.rate for muon in optimizers.muons} == {0.01}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_parameter_has_one_optimizer(recipe):
    model = build(recipe)
    optimizers = Optimizers(model, total_batch_size=2**17, rates=RATES)
    held = [id(parameter) for part in (*optimizers.adams, *optimizers.muons) for parameter in part.params]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_restored_optimizer_goes_on_bit_for_bit(recipe):
    model = build(recipe)
    optimizers = Optimizers(model, total_batch_size=2**17, rates=RATES)
    for number in range(3):
        step(model, optimizers, number)
    weights, state = {k: v.clone() for k, v in model.state_dict().items()}, optimizers.state()
    copied = build(recipe)
    copied.load_state_dict(weights)
    restored = Optimizers(copied, total_batch_size=2**17, rates=RATES)
    restored.load_state(state)
    assert step(copied, restored, 3) == step(model, optimizers, 3)
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), model.parameters(), strict=True))
