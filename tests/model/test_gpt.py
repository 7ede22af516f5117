import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name

from laneb.model.attention import attend, blocks_of_window, visible
from laneb.model.gpt import GPT
from laneb.model.loss import mean_loss, token_losses
from laneb.model.norm import unit_rms
from laneb.model.scaling import ModelShape, count_parameters

SHAPES = [
    {"depth": 1},
    {"depth": 3, "recipe": "nanochat-2026-07", "window_pattern": "S", "max_seq_len": 160},
    {"depth": 2, "recipe": "nanochat-2026-07", "n_kv_head": 2},
    {"depth": 3, "recipe": "laneb", "window_pattern": "SL"},
    {"depth": 3, "window_pattern": "SL"},
    {"depth": 4, "n_kv_head": 2, "vocab_size": 130},
    {"depth": 2, "aspect_ratio": 50},
]


def build(seed: int = 1, dtype: torch.dtype = torch.float32, **changes: object) -> GPT:
    values = {"depth": 2, "aspect_ratio": 64, "head_dim": 32, "max_seq_len": 16, "vocab_size": 128, **changes}
    model = GPT(ModelShape(**values), dtype)
    model.initialise(seed)
    return model


def wake(model: GPT) -> GPT:
    """Give the matrices that start at zero some weight, so that every part has a say."""
    with torch.no_grad():
        source = torch.Generator().manual_seed(5)
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=source)
    return model


def rows(model: GPT, count: int = 3) -> torch.Tensor:
    shape = model.shape
    source = torch.Generator().manual_seed(7)
    return torch.randint(0, shape.vocab_size, (count, shape.max_seq_len + 1), generator=source)


@pytest.mark.parametrize("changes", SHAPES)
def test_the_model_has_as_many_parameters_as_were_counted(changes):
    model = build(**changes)
    counts = count_parameters(model.shape).param_counts
    assert sum(parameter.numel() for parameter in model.parameters()) == counts.total
    assert sum(parameter.numel() for parameter in model.blocks.parameters()) == counts.transformer_matrices
    assert model.head.weight.numel() == counts.lm_head


@pytest.mark.parametrize("changes", SHAPES)
def test_a_prediction_depends_on_no_later_token(changes):
    model = wake(build(**changes))
    batch = rows(model)
    changed = batch.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % model.shape.vocab_size
    before, after = model.losses(batch[:, :-1], batch[:, 1:]), model.losses(changed[:, :-1], changed[:, 1:])
    assert torch.allclose(before[:, :8], after[:, :8], atol=1e-6)
    assert not torch.allclose(before[:, 9:], after[:, 9:], atol=1e-3)


def test_a_window_hides_what_lies_further_back():
    q, k, v = (torch.randn(1, 12, 2, 8) for _ in range(3))
    mask = visible(12, 4)
    changed = v.clone()
    changed[:, 3] += 1
    difference = (attend(q, k, changed, 4, mask) - attend(q, k, v, 4, mask)).abs().sum(dim=(0, 2, 3))
    assert (difference > 0).tolist() == [3 <= position <= 6 for position in range(12)]


def test_plain_attention_agrees_with_the_fused_kernel():
    q, k, v = torch.randn(2, 24, 4, 32), torch.randn(2, 24, 2, 32), torch.randn(2, 24, 2, 32)
    for window in (24, 7):
        mask = visible(24, window)
        exact = attend(q, k, v, window, mask)
        plain = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), window, mask)
        assert torch.allclose(exact, plain.float(), atol=0.05)


def test_a_window_by_blocks_hides_what_its_mask_hides():
    q, k, v = torch.randn(2, 300, 4, 32), torch.randn(2, 300, 2, 32), torch.randn(2, 300, 2, 32)
    by_mask = attend(q, k, v, 130, visible(300, 130), 1.44)
    by_blocks = attend(q, k, v, 130, blocks_of_window(300, 130, torch.device("cpu")), 1.44)
    assert torch.allclose(by_mask, by_blocks, atol=1e-5)


def test_a_model_whose_windows_skip_blocks_gives_the_same_losses():
    model = wake(build(depth=3, window_pattern="S", max_seq_len=288, recipe="nanochat-2026-07"))
    batch = rows(model)
    masked = model.losses(batch[:, :-1], batch[:, 1:])
    model.skip_unseen_blocks()
    assert set(model.window_blocks) == {129}
    assert torch.allclose(model.losses(batch[:, :-1], batch[:, 1:]), masked, atol=1e-4)


def test_weights_are_a_function_of_the_seed():
    first, again, other = (dict(build(seed).named_parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_an_untrained_model_spreads_its_bets_evenly():
    model = build()
    batch = rows(model)
    assert model(batch[:, :-1], batch[:, 1:]).item() == pytest.approx(math.log(128), abs=0.01)


def test_training_and_evaluation_agree_on_the_loss():
    model = wake(build())
    batch = rows(model)
    mean = model(batch[:, :-1], batch[:, 1:]).item()
    assert model.losses(batch[:, :-1], batch[:, 1:]).mean().item() == pytest.approx(mean, rel=1e-5)


def test_bfloat16_gives_nearly_the_float32_loss():
    exact, low = wake(build()), wake(build(dtype=torch.bfloat16))
    batch = rows(exact)
    low_loss = low(batch[:, :-1], batch[:, 1:]).item()
    assert low_loss == pytest.approx(exact(batch[:, :-1], batch[:, 1:]).item(), rel=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in low.parameters())


@pytest.mark.parametrize("count", [5, 700])
def test_the_chunked_loss_and_its_gradient_are_those_of_a_capped_softmax(count):
    source = torch.Generator().manual_seed(3)
    hidden = (3 * torch.randn(count, 24, generator=source)).requires_grad_()
    weight = torch.randn(4000, 24, generator=source).requires_grad_()
    targets = torch.randint(0, 4000, (count,), generator=source)
    loss = mean_loss(hidden, weight, targets)
    (2 * loss).backward()
    found = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    logits = 15 * torch.tanh(hidden.double() @ weight.double().T / 15)
    expected = F.cross_entropy(logits, targets)
    (2 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(found[0], hidden.grad, rtol=1e-4, atol=1e-8)
    assert torch.allclose(found[1], weight.grad, rtol=1e-4, atol=1e-8)
    each = F.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(token_losses(hidden, weight, targets).double(), each, rtol=1e-5)


def test_logits_beyond_every_bound_give_a_finite_loss():
    hidden, weight = torch.full((4, 8), 1e4), torch.eye(8).repeat(20, 1) * 1e4
    losses = token_losses(torch.cat((hidden, -hidden)), weight, torch.arange(8))
    assert torch.isfinite(losses).all()


def test_norm_and_its_gradient_are_those_of_rms_norm():
    x = torch.randn(5, 7, 32, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rms, (x[:2, :2],), atol=1e-4)
    assert torch.allclose(unit_rms(x), F.rms_norm(x, (32,)), atol=1e-6)
    assert torch.equal(unit_rms(torch.zeros(2, 4)), torch.zeros(2, 4))
