from typing import Any

import pytest
from stand_in_checkout import write_checkout

from laneb.model.recipes import house
from laneb.records.base import canonical_hash
from laneb.training import hardware
from laneb.training.schedule import Schedule, evaluation_steps
from laneb.training.spec import RunSpec, choose_compile, choose_dtype

OUTCOMES: dict[str, Any] = {
    "seed": 42, "steps": 13, "depth": 2, "max_seq_len": 8, "window_pattern": "S", "device_batch_size": 8,
    "total_batch_size": 256, "eval_every": 5, "eval_every_late": 2, "eval_tokens": 512, "embedding_lr": 0.1,
    "unembedding_lr": 0.2, "matrix_lr": 0.01, "scalar_lr": 0.1, "weight_decay": 0.0, "warmup_ratio": 0.1,
    "recipe": "nanochat-2026-07", "warmup_steps": 3, "warmdown_ratio": 0.4, "final_lr_share": 0.1, "threads": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", OUTCOMES)
def test_whatever_decides_the_outcome_changes_the_fingerprint(runs, name):
    spec = runs.spec()
    changed = runs.spec(**{name: OUTCOMES[name]})
    assert changed.fingerprint != spec.fingerprint
    assert (changed.recipe == spec.recipe) == (name in ("seed", "steps"))


def test_other_text_or_another_tokenizer_is_another_run(runs):
    spec = runs.spec()
    for name in ("corpus_fingerprint", "tokenizer_id"):
        assert spec.model_copy(update={name: "other"}).fingerprint != spec.fingerprint


def test_the_code_of_the_checkout_that_trains_is_part_of_a_run_s_identity(runs, tmp_path):
    checkout = write_checkout(tmp_path / "nanochat")
    knobs = {"backend": "nanochat", "nanochat_dir": str(checkout)}
    before = runs.spec(**knobs)
    assert runs.spec(**knobs).fingerprint == before.fingerprint
    with (checkout / "scripts" / "base_train.py").open("a") as script:
        script.write("# another commit\n")
    assert runs.spec(**knobs).fingerprint != before.fingerprint
    assert runs.spec(**knobs).recipe != before.recipe
    moved = checkout.rename(tmp_path / "moved")
    assert runs.spec(backend="nanochat", nanochat_dir=str(moved)).fingerprint != before.fingerprint
    write_checkout(moved)
    assert runs.spec(backend="nanochat", nanochat_dir=str(moved)).fingerprint == before.fingerprint


@pytest.mark.parametrize("knobs", [{"checkpoint_every": 99}, {"wandb_run_base": "mine"}, {"keep_model": True}])
def test_what_decides_nothing_leaves_the_fingerprint(runs, knobs):
    assert runs.spec(**knobs).fingerprint == runs.spec().fingerprint


def test_a_run_that_was_finished_before_a_field_was_known_is_still_recognised(runs):
    spec = runs.spec(recipe="laneb")
    older = spec.model_dump(mode="json", exclude={*RunSpec.places, *RunSpec.newer})
    assert spec.fingerprint == canonical_hash(older)


def test_shards_that_moved_are_the_same_run(runs):
    spec = runs.spec()
    assert spec.model_copy(update={"shards_path": "/elsewhere"}).fingerprint == spec.fingerprint


def test_a_spec_survives_its_file(runs):
    spec = runs.spec()
    assert RunSpec.model_validate_json(spec.to_json()) == spec


def test_a_name_says_depth_horizon_and_seed(runs):
    assert runs.spec(seed=7, steps=20).run_id == "d1_i20_s7"


def test_realised_tokens_and_accumulation_follow_from_the_batch(runs):
    spec = runs.spec(steps=10)
    assert spec.accumulation_steps == 2
    assert spec.realised_ratio == 10 * 128 / spec.n_scaling_params


def test_a_vocabulary_that_the_shards_lack_is_refused(runs):
    shards = runs.shards.model_copy(update={"vocab_size": 301})
    other = type(runs)(runs.folder, shards)
    scaling_of_300 = runs.spec()
    assert other.spec().vocab_size == 301 and scaling_of_300.vocab_size == 300
    from laneb.knobs import ModelKnobs, TrainingKnobs
    from laneb.model.scaling import ModelShape, count_parameters
    from laneb.training.spec import spec_for

    knobs = ModelKnobs(depth=1, aspect_ratio=32, head_dim=32, max_seq_len=16)
    scaling = count_parameters(ModelShape.of(knobs, 300))
    with pytest.raises(ValueError, match="300 tokens and that of the shards"):
        spec_for(shards, scaling, knobs, TrainingKnobs(), seed=1, steps=1)


def test_a_horizon_of_no_steps_is_refused(runs):
    with pytest.raises(ValueError, match="horizon of 0 steps"):
        runs.spec(steps=0)


def test_numeric_choices_follow_from_shape_and_hardware_alone(runs, monkeypatch):
    narrow, wide = runs.spec().shape, runs.spec(aspect_ratio=512).shape
    monkeypatch.setattr(hardware, "cpu_multiplies_bfloat16", lambda: True)
    assert (choose_dtype(narrow, "cpu"), choose_dtype(wide, "cpu")) == ("float32", "bfloat16")
    monkeypatch.setattr(hardware, "cpu_multiplies_bfloat16", lambda: False)
    assert choose_dtype(wide, "cpu") == "float32"
    for capability, dtype in ((None, "float32"), (7, "float32"), (8, "bfloat16"), (9, "bfloat16")):
        monkeypatch.setattr(hardware, "cuda_capability", lambda major=capability: major)
        assert choose_dtype(narrow, "cuda") == dtype
    assert choose_compile(narrow, "cuda", 4) and not choose_compile(narrow, "cpu", 4)


def test_evaluations_are_sparse_early_and_dense_late():
    assert evaluation_steps(30, 10, 2) == (0, 10, 20, 22, 24, 26, 28, 30)
    assert evaluation_steps(31, 10, 4) == (0, 10, 20, 24, 28, 31)
    assert evaluation_steps(1, 100, 25) == (0, 1)


@pytest.mark.parametrize("steps", range(1, 60))
def test_evaluations_rise_from_zero_to_the_horizon(steps):
    found = evaluation_steps(steps, 7, 2)
    assert found[0] == 0 and found[-1] == steps
    assert list(found) == sorted(set(found))


def test_the_rate_is_constant_then_falls_linearly_over_half_the_horizon():
    schedule = Schedule(100, 0, 50, 0.0, house.RECIPE)
    assert [schedule.learning_rate(step) for step in (0, 49, 50, 75, 99)] == [1, 1, 1, 0.5, 0.02]
    warm = Schedule(100, 10, 50, 0.2, house.RECIPE)
    assert [warm.learning_rate(step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1, 1]
    assert warm.learning_rate(75) == pytest.approx(0.6)


def test_a_warmup_in_steps_is_as_long_at_every_horizon(runs):
    for steps in (7, 13, 30):
        schedule = runs.spec(steps=steps, warmup_steps=3).schedule
        assert [schedule.learning_rate(step) for step in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_a_warmup_that_is_a_share_is_as_long_as_the_horizon_makes_it(runs):
    for steps in (10, 20):
        schedule = runs.spec(steps=steps, warmup_ratio=0.2, recipe="nanochat-2026-07").schedule
        assert schedule.warmup_steps == steps // 5
    assert runs.spec(recipe="nanochat-2026-07").schedule.warmup_steps == 40


def test_decay_spans_the_horizon_and_momentum_does_not():
    schedule = Schedule(10, 0, 5, 0, house.RECIPE)
    assert [schedule.weight_decay(step) for step in (0, 5)] == [1.0, 0.5]
    assert [schedule.momentum(step) for step in (0, 150, 300, 900)] == pytest.approx([0.85, 0.9, 0.95, 0.95])


TINY = {
    "recipe": "laneb", "depth": 2, "aspect_ratio": 32, "head_dim": 32, "max_seq_len": 128, "device": "cpu",
    "threads": 1, "device_batch_size": 8, "total_batch_size": 1024, "eval_every": 50, "eval_every_late": 20,
    "eval_tokens": 16384, "embedding_lr": 8.4, "unembedding_lr": 0.224, "matrix_lr": 1.12, "scalar_lr": 0.56,
}  # fmt: skip


def test_runs_that_were_finished_before_there_were_recipes_keep_their_identity(runs):
    spec = runs.spec(steps=400, **TINY).model_copy(
        update={"vocab_size": 1024, "corpus_fingerprint": "", "tokenizer_id": "", "dtype": "float32", "compile": False}
    )
    assert (spec.fingerprint, spec.recipe) == ("55e6b97f403f2d73", "0d4ee74fe31f9fc2")


def test_a_spec_for_another_machine_leaves_the_hardware_to_it_under_one_identity(runs, monkeypatch):
    elsewhere = runs.spec(elsewhere=True, device="auto", threads=0)
    assert (elsewhere.device, elsewhere.dtype, elsewhere.compile, elsewhere.threads) == ("auto", "auto", "auto", 0)
    here = elsewhere.resolved_here()
    assert (here.device, here.dtype, here.compile) == ("cpu", "float32", False) and here.threads >= 1
    monkeypatch.setattr(hardware, "cuda_capability", lambda: 9)
    there = elsewhere.resolved_here()
    assert (there.device, there.dtype, there.compile) == ("cuda", "bfloat16", True)
    assert elsewhere.fingerprint == here.fingerprint == there.fingerprint
    monkeypatch.setattr(hardware, "usable_cores", lambda: 77)
    monkeypatch.setattr(hardware, "cuda_capability", lambda: None)
    other = elsewhere.resolved_here()
    assert other.threads == 77 and other.recipe == here.recipe
    # Runs in two number formats don't lie on one curve, and say so.
    assert there.recipe != here.recipe
    assert RunSpec.model_validate_json(here.to_json()) == here
    assert runs.spec().resolved_here() == runs.spec()


def test_a_spec_that_leaves_the_hardware_to_the_node_trains(runs):
    result = runs.train(runs.spec(elsewhere=True, device="auto"))
    assert result.status == "ok" and result.fingerprint == runs.spec(elsewhere=True, device="auto").fingerprint


def test_threads_are_no_identity_on_a_gpu(runs):
    def on(device: str, threads: int) -> str:
        return runs.spec().model_copy(update={"device": device, "threads": threads}).fingerprint

    assert on("cuda", 1) == on("cuda", 8)
    assert on("cpu", 1) != on("cpu", 8)
