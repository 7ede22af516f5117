"""The built-in trainer against a plain implementation of nanochat's equations, and against their check values."""

import pytest
import torch
from plain_nanochat import PlainTraining, Sizes, initial_weights, mean_loss

from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.model import build, load_nanochat_state, nanochat_state
from laneb.model.gpt import GPT
from laneb.model.names import nanochat_name
from laneb.model.optimizer import Optimizers
from laneb.model.recipes import RECIPES, recipe_named
from laneb.model.scaling import ModelShape, count_parameters, decay_scale, share_of_reference
from laneb.recipe_knobs import RECIPE_KNOBS, own_values, resolved
from laneb.training.schedule import Schedule

DATED = ("nanochat-2026-02", "nanochat-2026-07")
STEPS = 12
KNOBS = {"embedding_lr": 0.3, "unembedding_lr": 0.008, "matrix_lr": 0.02, "scalar_lr": 0.5, "weight_decay": 0.2}


def pair(recipe: str, depth: int = 3, pattern: str = "L", context: int = 24):
    """The product's model and the plain one's sizes."""
    model = build(
        depth=depth, aspect_ratio=32, head_dim=32, max_seq_len=context, vocab_size=150, window_pattern=pattern,
        recipe=recipe, seed=42,
    )  # fmt: skip
    return model, Sizes(recipe.endswith("07"), depth, 32 * depth, 32, context, 150, pattern)


def batch(context: int, seed: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.randint(0, 150, (3, context + 1), generator=torch.Generator().manual_seed(seed))
    return rows[:, :-1], rows[:, 1:]


def set_nanochat_gradients(model: GPT, gradients: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[nanochat_name(name)].clone()


def woken(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every weight moved, so that what starts at zero has a say too."""
    source = torch.Generator().manual_seed(5)
    return {name: value + 0.05 * torch.randn(value.shape, generator=source) for name, value in weights.items()}


@pytest.mark.parametrize("recipe", DATED)
@pytest.mark.parametrize("depth", [1, 4])
def test_initial_weights_are_nanochats_bit_for_bit(recipe, depth):
    model, sizes = pair(recipe, depth)
    ours, theirs = nanochat_state(model), initial_weights(sizes, 42)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("recipe", DATED)
@pytest.mark.parametrize(("depth", "pattern", "context"), [(3, "L", 24), (4, "SSL", 24), (2, "SL", 300)])
def test_loss_and_gradients_are_nanochats(recipe, depth, pattern, context):
    model, sizes = pair(recipe, depth, pattern, context)
    weights = woken(initial_weights(sizes, 42))
    load_nanochat_state(model, weights)
    for value in weights.values():
        value.requires_grad_()
    tokens, targets = batch(context)
    expected = mean_loss(weights, sizes, tokens, targets)
    gradients = dict(zip(weights, torch.autograd.grad(expected, list(weights.values())), strict=True))
    loss = model(tokens, targets)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    found = nanochat_state(model, gradients=True)
    for name, gradient in gradients.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5), name
        assert gradient.abs().max() > 0, name


def schedule_of(recipe: str, steps: int) -> Schedule:
    knobs = RECIPE_KNOBS[recipe]
    return Schedule(
        steps, max(0, knobs.warmup_steps), round(knobs.warmdown_ratio * steps), knobs.final_lr_share,
        recipe_named(recipe),
    )  # fmt: skip


def both_trainings(recipe: str):
    """The product's model and optimizers, and the plain training, from the same weights."""
    model, sizes = pair(recipe)
    tokens = 2**17
    # Awake: with projections of zero the scales of layers have a gradient of mere rounding, which Adam makes a step of.
    weights = woken(initial_weights(sizes, 42))
    load_nanochat_state(model, weights)
    decay = (tokens / 2**19) ** 0.5 / share_of_reference(model.shape)
    plain = PlainTraining(sizes, weights, tokens, STEPS, KNOBS, decay_scale=decay)
    return model, Optimizers(model, total_batch_size=tokens, rates=KNOBS), plain


def update(optimizers: Optimizers, schedule: Schedule, it: int) -> None:
    optimizers.step(
        learning_rate=schedule.learning_rate(it),
        momentum=schedule.momentum(it),
        weight_decay=schedule.weight_decay(it),
    )
    optimizers.zero_grad()


@pytest.mark.parametrize("recipe", DATED)
def test_ten_updates_from_the_same_gradients_are_nanochats(recipe):
    model, optimizers, plain = both_trainings(recipe)
    schedule = schedule_of(recipe, STEPS)
    source = torch.Generator().manual_seed(3)
    for it in range(10):
        gradients = {name: 1e-3 * torch.randn(value.shape, generator=source) for name, value in plain.weights.items()}
        set_nanochat_gradients(model, gradients)
        update(optimizers, schedule, it)
        plain.update(it, gradients)
    for name, value in nanochat_state(model).items():
        assert (value - plain.weights[name]).abs().max() < 1e-5, name


@pytest.mark.parametrize(("recipe", "close"), [("nanochat-2026-02", 2e-2), ("nanochat-2026-07", 1e-4)])
def test_ten_steps_of_training_are_nanochats(recipe, close):
    model, optimizers, plain = both_trainings(recipe)
    schedule = schedule_of(recipe, STEPS)
    for it in range(10):
        tokens, targets = batch(24, seed=it)
        loss = model(tokens, targets)
        loss.backward()
        update(optimizers, schedule, it)
        # February orthogonalises in bfloat16, which makes a few percent of an update of a gradient's last bit.
        assert loss.item() == pytest.approx(plain.step(it, tokens, targets), abs=close)
    if recipe == "nanochat-2026-07":
        for name, value in nanochat_state(model).items():
            assert (value - plain.weights[name]).square().mean().sqrt() < 1e-4, name


TABLE = {
    ("nanochat-2026-07", 12): (768, 110_100_912, 2520, 524_288, 1.0, 0.28, 1.0, 7.596960e8),
    ("nanochat-2026-07", 20): (1280, 435_160_240, 4980, 1_048_576, 1.4142, 0.100188, 0.774597, 2.886213e9),
    ("nanochat-2026-07", 26): (1664, 918_423_532, 10_510, 1_048_576, 1.4142, 0.047470, 0.679366, 5.991051e9),
    ("nanochat-2026-02", 12): (768, 110_101_632, 2205, 524_288, 1.0, 0.2, 1.0, 8.021676e8),
    ("nanochat-2026-02", 20): (1280, 435_162_240, 4357, 1_048_576, 1.4142, 0.071563, 0.774597, 3.004189e9),
    ("nanochat-2026-02", 26): (1664, 918_426_912, 9196, 1_048_576, 1.4142, 0.033907, 0.679366, 6.185320e9),
}


@pytest.mark.parametrize(("recipe", "depth"), TABLE)
def test_sizes_batches_horizons_and_scaling_are_the_published_ones(recipe, depth):
    from laneb.model.scaling import automatic_total_batch_size, batch_scale, flops_per_token, steps_for_ratio

    width, count, steps, tokens, rate, decay, wide, flops = TABLE[recipe, depth]
    shape = ModelShape(
        recipe=recipe, depth=depth, aspect_ratio=64, head_dim=128, max_seq_len=2048, vocab_size=32768,
        window_pattern="SSSL",
    )  # fmt: skip
    knobs = RECIPE_KNOBS[recipe]
    total = automatic_total_batch_size(shape, 32)
    assert (shape.model_dim, count_parameters(shape).n_scaling_params, total) == (width, count, tokens)
    assert steps_for_ratio(knobs.default_ratio, count, total) == steps
    assert batch_scale(total) == pytest.approx(rate, abs=1e-4)
    assert knobs.weight_decay * decay_scale(shape, total) == pytest.approx(decay, abs=1e-6)
    assert (shape.model_dim / 768) ** -0.5 == pytest.approx(wide, abs=1e-6)
    assert flops_per_token(shape) == pytest.approx(flops, rel=1e-6)


COUNTS = {
    (4, "nanochat-2026-07"): (8_388_608, 16_777_216, 3_145_776, 34, 36_700_242),
    (4, "nanochat-2026-02"): (8_388_608, 16_777_216, 3_145_856, 8, 36_700_296),
    (12, "nanochat-2026-07"): (25_165_824, 150_994_944, 84_935_088, 50, 286_261_730),
    (12, "nanochat-2026-02"): (25_165_824, 150_994_944, 84_935_808, 24, 286_262_424),
}


@pytest.mark.parametrize(("depth", "recipe"), COUNTS)
def test_counts_by_group_are_the_published_ones(depth, recipe):
    shape = ModelShape(recipe=recipe, depth=depth, aspect_ratio=64, head_dim=128, max_seq_len=2048, vocab_size=32768)
    counts = count_parameters(shape).param_counts
    assert counts.wte == counts.lm_head
    found = (counts.wte, counts.value_embeds, counts.transformer_matrices, counts.scalars, counts.total)
    assert found == COUNTS[depth, recipe]


@pytest.mark.parametrize("recipe", DATED)
@pytest.mark.parametrize(
    ("depth", "tokens"), [(2, 17), (3, 18), (8, 18), (9, 19), (16, 19), (17, 20), (31, 20), (32, 21), (40, 21)]
)
def test_the_automatic_batch_is_nanochats_at_every_depth(recipe, depth, tokens):
    from laneb.model.scaling import automatic_total_batch_size

    shape = ModelShape(recipe=recipe, depth=depth, aspect_ratio=64, head_dim=128, max_seq_len=2048, vocab_size=32768)
    assert automatic_total_batch_size(shape, 8) == 2**tokens


@pytest.mark.parametrize(
    ("recipe", "context", "short"),
    [("nanochat-2026-07", 2048, 512), ("nanochat-2026-07", 2100, 640), ("nanochat-2026-07", 96, 96),
     ("nanochat-2026-02", 2048, 1024), ("laneb", 2048, 1024), ("laneb", 1, 1)],
)  # fmt: skip
def test_short_windows_are_the_recipes(recipe, context, short):
    shape = ModelShape(
        recipe=recipe, depth=4, aspect_ratio=64, head_dim=128, max_seq_len=context, vocab_size=300, window_pattern="S"
    )
    assert [shape.window(layer) for layer in range(4)] == [short] * 3 + [context]


@pytest.mark.parametrize(
    ("recipe", "steps", "it", "rate", "momentum", "decay"),
    [
        ("nanochat-2026-07", 2520, 0, 0.025, 0.85, 0.28),
        ("nanochat-2026-07", 2520, 400, 1.0, 0.97, 0.262951),
        ("nanochat-2026-07", 2520, 883, 0.999420, 0.969957, 0.203403),
        ("nanochat-2026-07", 2520, 1700, 0.525580, 0.935043, 0.066999),
        ("nanochat-2026-02", 2205, 300, 1.0, 0.95, 0.172789),
        ("nanochat-2026-02", 2205, 1650, 0.503630, 0.95, 0.050340),
    ],
)
def test_schedules_have_their_check_values(recipe, steps, it, rate, momentum, decay):
    schedule = schedule_of(recipe, steps)
    assert schedule.learning_rate(it) == pytest.approx(rate, abs=1e-6)
    assert schedule.momentum(it) == pytest.approx(momentum, abs=1e-6)
    assert RECIPE_KNOBS[recipe].weight_decay * schedule.weight_decay(it) == pytest.approx(decay, abs=1e-6)


@pytest.mark.parametrize(("recipe", "final", "share"), [("nanochat-2026-07", 0.05, 0.65), ("nanochat-2026-02", 0, 0.5)])
def test_the_last_update_is_a_step_above_the_final_rate(recipe, final, share):
    steps = 500
    expected = final + (1 - final) / round(share * steps)
    assert schedule_of(recipe, steps).learning_rate(steps - 1) == pytest.approx(expected)


def test_a_short_july_run_never_leaves_its_warmup():
    schedule = schedule_of("nanochat-2026-07", 30)
    assert [schedule.learning_rate(it) for it in (0, 29)] == [1 / 40, 30 / 40]


def test_what_nobody_set_is_the_recipes_own():
    july = resolved(TrainingKnobs(matrix_lr=0.5), "nanochat-2026-07")
    assert (july.matrix_lr, july.unembedding_lr, july.weight_decay) == (0.5, 0.008, 0.28)
    assert (july.warmup_steps, july.warmup_ratio, july.warmdown_ratio, july.final_lr_share) == (40, 0.0, 0.65, 0.05)
    share = resolved(TrainingKnobs(warmup_ratio=0.1), "nanochat-2026-07")
    assert (share.warmup_steps, share.warmup_ratio) == (-1, 0.1)
    none = resolved(TrainingKnobs(warmup_steps=0), "nanochat-2026-07")
    assert (none.warmup_steps, none.warmup_ratio) == (0, 0.0)
    assert own_values(july, "nanochat-2026-02") == {}


def test_every_recipe_that_can_be_asked_for_is_there():
    allowed = ModelKnobs.model_json_schema()["properties"]["recipe"]["enum"]
    assert set(allowed) == set(RECIPES) == set(RECIPE_KNOBS)
    with pytest.raises(ValueError, match=r"no such recipe\. Known are laneb, nanochat-2026-02, nanochat-2026-07"):
        recipe_named("nanochat-2025")


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_go_out_under_nanochats_names_and_back(recipe):
    model, _ = pair(recipe)
    state = woken(nanochat_state(model))
    other, _ = pair(recipe)
    load_nanochat_state(other, state)
    assert all(torch.equal(value, state[name]) for name, value in nanochat_state(other).items())
    assert "transformer.h.2.attn.ve_gate.weight" in state and "transformer.h.1.attn.ve_gate.weight" not in state


def test_a_foreign_state_is_refused_by_name():
    model, _ = pair("nanochat-2026-02")
    july = nanochat_state(pair("nanochat-2026-07")[0])
    with pytest.raises(ValueError, match=r"unknown: backout_lambda, smear_gate\.weight, smear_lambda"):
        load_nanochat_state(model, july)
    state = nanochat_state(model)
    del state["lm_head.weight"]
    with pytest.raises(ValueError, match=r"missing: lm_head\.weight"):
        load_nanochat_state(model, state)
    with pytest.raises(ValueError, match=r"lm_head\.weight is \(3, 3\)"):
        load_nanochat_state(model, {**state, "lm_head.weight": torch.zeros(3, 3)})
