"""What a lane on a checkout tells its script, at every style of command line that nanochat had."""

import json
import sys
from pathlib import Path

import pytest
from stand_in_checkout import HARDWIRED, SHARDS, knobs_on, run_on, spec_of, write_checkout, write_shard

from laneb.corpus.checkout import CheckoutError, find_checkout
from laneb.corpus.checkout_data import CheckoutData, training_files
from laneb.training import hardware
from laneb.training.checkout_flags import read_flags
from laneb.training.checkout_knobs import checkout_knobs
from laneb.training.nanochat import nanochat_command
from laneb.training.spec import RunSpec, lane_spec

STYLES = ("2025-11", "2026-01", "2026-02", "2026-07")


def told(spec: RunSpec, **more: object) -> dict[str, str]:
    """The flags of the script's command line, as it spells them."""
    arguments = nanochat_command(spec, model_tag="t", **more).arguments
    words = arguments[len(arguments) - arguments[::-1].index("--then") :]
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


@pytest.mark.parametrize("version", STYLES)
def test_a_knob_that_nobody_set_is_not_told_and_stands_in_the_spec_as_the_checkouts_own(tmp_path: Path, version: str):
    shape = HARDWIRED if version == "2025-11" else {}
    spec = run_on(write_checkout(tmp_path, version=version), **shape)
    own = {
        "2025-11": (0.2, 0.004, 0.0, 0.2, 0.0, 524288, 20 * 524288, "L"),
        "2026-01": (0.3, 0.004, 0.0, 0.4, 0.0, 524288, 20 * 524288, "L"),
        "2026-02": (0.3, 0.004, 0.2, 0.5, 0.0, 2**16, 40 * 524288, "SSSL"),
        "2026-07": (0.3, 0.008, 0.28, 0.65, 0.05, 2**16, 80 * 524288, "SSSL"),
    }[version]
    assert own == (
        spec.embedding_lr, spec.unembedding_lr, spec.weight_decay, spec.warmdown_ratio, spec.final_lr_share,
        spec.total_batch_size, spec.eval_tokens, spec.window_pattern,
    )  # fmt: skip
    assert (spec.matrix_lr, spec.scalar_lr, spec.eval_every, spec.eval_every_late) == (0.02, 0.5, 250, 250)
    assert (spec.warmup_steps, spec.warmup_ratio) == ((40, 0.0) if version == "2026-07" else (-1, 0.0))
    assert spec.recipe_name == ("nanochat-2026-07" if version == "2026-07" else "nanochat-2026-02")
    names = {"depth", "max_seq_len", "num_iterations", "device_batch_size", "device_type", "run", "model_tag",
             "save_every", "core_metric_every", "sample_every"}  # fmt: skip
    assert {name.replace("-", "_") for name in told(spec)} - {"aspect_ratio", "head_dim"} == names


@pytest.mark.parametrize(("version", "spelled"), [("2025-11", "{}_lr"), ("2026-01", "{}_lr"), ("2026-07", "{}-lr")])
def test_a_knob_that_was_set_is_told_in_the_versions_own_spelling(tmp_path: Path, version: str, spelled: str):
    spec = run_on(write_checkout(tmp_path, version=version), **HARDWIRED, matrix_lr=1, unembedding_lr=0.0001)
    flags = told(spec)
    assert (spec.matrix_lr, spec.unembedding_lr) == (1.0, 0.0001)
    # The configurator takes a fraction for a fraction alone.
    assert (flags[spelled.format("matrix")], flags[spelled.format("unembedding")]) == ("1.0", "0.0001")
    assert spelled.format("embedding") not in flags


def test_where_a_knob_came_from_says_whether_somebody_set_it(tmp_path: Path):
    model, training = knobs_on(write_checkout(tmp_path, version="2026-07"), matrix_lr=0.03, weight_decay=0.1)
    origins = dict.fromkeys(["model.depth", "training.weight_decay"], "profile mine")
    origins |= {"training.matrix_lr": "default", "training.device_batch_size": "override"}
    found = checkout_knobs(model, training, origins)
    assert set(found.told) == {"depth", "weight_decay", "device_batch_size"}
    assert (found.training.matrix_lr, found.training.weight_decay) == (0.02, 0.1)
    assert found.model.max_seq_len == 2048


def test_a_default_of_ours_that_somebody_sets_is_another_run_than_the_checkouts_own(tmp_path: Path):
    checkout = write_checkout(tmp_path, version="2026-07")
    own, set_by_someone = run_on(checkout), run_on(checkout, weight_decay=0.2)
    assert set_by_someone.fingerprint != own.fingerprint and told(set_by_someone)["weight-decay"] == "0.2"
    same = run_on(checkout, weight_decay=0.28)
    assert same.fingerprint == own.fingerprint and told(same)["weight-decay"] == "0.28"


@pytest.mark.parametrize(
    ("version", "knobs", "flags"),
    [
        ("2026-07", {"warmup_steps": 5}, {"warmup-steps": "5"}),
        ("2026-07", {"warmup_ratio": 0.1}, {"warmup-steps": "2"}),
        ("2026-07", {"warmup_ratio": 0.0}, {"warmup-steps": "0"}),
        ("2026-02", {"warmup_ratio": 0.1}, {"warmup-ratio": "0.1"}),
        ("2026-02", {"warmup_steps": 5}, {"warmup-ratio": "0.25"}),
        ("2025-11", {"warmup_steps": 0, **HARDWIRED}, {"warmup_ratio": "0.0"}),
    ],
)
def test_a_warmup_is_told_in_the_unit_that_the_version_knows(tmp_path: Path, version, knobs, flags):
    spec = run_on(write_checkout(tmp_path, version=version), **knobs)
    assert {name: value for name, value in told(spec).items() if name.startswith("warmup")} == flags
    longer = run_on(tmp_path, steps=40, **knobs)
    assert longer.recipe == spec.recipe


def test_all_that_a_version_can_not_be_given_is_refused_by_name(tmp_path: Path):
    checkout = write_checkout(
        tmp_path,
        without=("window_pattern", "final_lr_frac", "scalar_lr", "num_iterations", "eval_tokens", "warmup_ratio"),
    )
    with pytest.raises(CheckoutError) as error:
        run_on(checkout, window_pattern="SL", final_lr_share=0.1, scalar_lr=0.4, n_kv_head=1, warmup_ratio=0.1)
    message = str(error.value)
    for name in (
        "LANE_B_WINDOW_PATTERN=SL (it has no --window-pattern)", "LANE_B_FINAL_LR_SHARE=0.1", "LANE_B_SCALAR_LR=0.4",
        "a horizon in steps (it has no --num-iterations)", "LANE_B_EVAL_TOKENS=", "LANE_B_N_KV_HEAD=1",
        "LANE_B_WARMUP_RATIO=0.1",
    ):  # fmt: skip
        assert name in message
    assert str(tmp_path) in message and "LANE_B_BACKEND=builtin" in message


def test_what_a_version_without_the_flag_does_anyway_is_not_refused(tmp_path: Path):
    spec = run_on(write_checkout(tmp_path, version="2025-11"), **HARDWIRED, window_pattern="L", scalar_lr=0.5)
    assert not any(name.startswith(("aspect", "head", "window", "scalar")) for name in told(spec))
    with pytest.raises(CheckoutError, match=r"LANE_B_ASPECT_RATIO=32 \(it has no --aspect-ratio\)"):
        run_on(tmp_path)


def test_flags_without_a_knob_stand_in_the_spec_and_those_never_heard_of_are_named(tmp_path: Path):
    checkout = write_checkout(tmp_path, more={"num_experts": "8", "time_to_target_threshold": "-1.0"})
    found = checkout_knobs(*knobs_on(checkout))
    assert found.flags == {
        "fp8": False, "fp8_recipe": "tensorwise", "adam_beta1": 0.8, "adam_beta2": 0.95, "num_experts": 8,
    }  # fmt: skip
    assert found.unknown == ("num_experts",)
    spec = run_on(checkout)
    assert spec.nanochat_flags == found.flags and not any("experts" in name for name in told(spec))
    script = checkout / "scripts" / "base_train.py"
    script.write_text(script.read_text().replace("default=8", "default=4"))
    other = run_on(checkout).model_copy(update={"nanochat_code": spec.nanochat_code})
    assert other.fingerprint != spec.fingerprint and other.recipe != spec.recipe


def test_further_flags_are_passed_as_they_are_and_recorded(tmp_path: Path):
    checkout = write_checkout(tmp_path, version="2026-07")
    plain = run_on(checkout)
    spec = run_on(checkout, checkout_flags="--fp8 --matrix-lr=0.03 --fp8-recipe rowwise --core-metric-max-per-task=5")
    assert nanochat_command(spec, model_tag="t").arguments[-5:] == (
        "--fp8", "--matrix-lr=0.03", "--fp8-recipe", "rowwise", "--core-metric-max-per-task=5",
    )  # fmt: skip
    assert spec.matrix_lr == 0.03 and spec.nanochat_flags == {"fp8": True, "fp8_recipe": "rowwise"}
    assert spec.fingerprint != plain.fingerprint
    idle = run_on(checkout, checkout_flags="--core-metric-max-per-task=5")
    assert idle.fingerprint == plain.fingerprint
    assert RunSpec.model_validate_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("version", "flags", "message"),
    [
        ("2026-07", "--matrix-lr=0.03", r"--matrix-lr=0\.03 of LANE_B_CHECKOUT_FLAGS \(LANE_B_MATRIX_LR says it too"),
        ("2026-07", "--warmup-steps=3", r"\(LANE_B_WARMUP_RATIO says it too"),
        ("2026-07", "--num-iterations=7", "the lane gives it itself"),
        ("2026-07", "--sample-every=7", "the lane gives it itself"),
        ("2026-07", "--warmup_ratio=0.1", r"no such flag; did you mean --warm"),
        ("2026-01", "--device-batch-size=4", "did you mean --device_batch_size"),
        ("2026-07", "--warmdown-ratio=much", "it takes a number"),
        ("2026-07", "--eval-tokens=1.5", "it takes an integer"),
        ("2026-07", "--fp8=1", "it takes no value"),
        ("2026-07", "--eval-tokens", "it takes an integer"),
        ("2026-07", "other.py", "it has no such flag"),
        ("2026-07", "--fp8 'open", "No closing quotation"),
        ("2026-07", "--eval-every=-1", r"has eval-every -1, .* Set LANE_B_EVAL_EVERY"),
        ("2025-11", "--weight_decay=0", r"write 0\.0"),
        ("2025-11", "--weight_decay 0.1", "takes --weight_decay=VALUE alone"),
    ],
)
def test_a_flag_that_can_not_be_given_is_refused_by_name(tmp_path: Path, version: str, flags: str, message: str):
    checkout = write_checkout(tmp_path, version=version)
    chosen = {**HARDWIRED, "matrix_lr": 0.02, "warmup_ratio": 0.0}
    with pytest.raises(CheckoutError, match=message):
        run_on(checkout, **chosen, checkout_flags=flags)


def test_a_default_that_no_run_can_have_asks_for_the_knob(tmp_path: Path):
    checkout = write_checkout(tmp_path, without=("device_batch_size",), more={"device_batch_size": "-1"})
    model, training = knobs_on(checkout)
    with pytest.raises(CheckoutError, match=r"has device-batch-size -1, .* Set LANE_B_DEVICE_BATCH_SIZE"):
        checkout_knobs(model, training, {"model.depth": "environment"})
    assert run_on(checkout).device_batch_size == 2


def test_an_automatic_batch_is_a_power_of_two_or_refused(tmp_path: Path):
    checkout = write_checkout(tmp_path)
    assert run_on(checkout).total_batch_size == 2**16
    with pytest.raises(CheckoutError, match=r"LANE_B_DEVICE_BATCH_SIZE=3: .* power of two"):
        run_on(checkout, device_batch_size=3)


@pytest.mark.parametrize("version", STYLES)
def test_the_source_and_the_scripts_own_parser_say_the_same(tmp_path: Path, version: str):
    checkout = find_checkout(str(write_checkout(tmp_path, version=version)), sys.executable)
    script = tmp_path / "scripts" / "base_train.py"
    source = read_flags(checkout)
    assert source.configurator == (version == "2025-11")
    if not source.configurator:
        # Handed to a function, the parser could get flags that the source doesn't show.
        script.write_text(script.read_text().replace("args = parser", "repr(parser)\nargs = parser"))
        assert read_flags(checkout).flags == source.flags
    assert source.flags["eval_tokens"].default in (20 * 524288, 40 * 524288, 80 * 524288)
    assert "(-1 = disable)" in source.flags["core_metric_every"].meaning


def test_flags_that_a_loop_declares_are_asked_for(tmp_path: Path):
    write_checkout(tmp_path)
    script = tmp_path / "scripts" / "base_train.py"
    loop = "for name in ('wide', 'deep'):\n    parser.add_argument(f'--{name}-part', type=float, default=3)\n"
    script.write_text(script.read_text().replace("args = parser", f"{loop}args = parser"))
    flags = read_flags(find_checkout(str(tmp_path), sys.executable)).flags
    assert (flags["wide_part"].spelled, flags["deep_part"].default) == ("wide-part", 3.0)
    assert flags["aspect_ratio"].spelled == "aspect-ratio"


def test_a_script_that_shows_no_flags_is_no_version_of_nanochat(tmp_path: Path):
    write_checkout(tmp_path)
    (tmp_path / "scripts" / "base_train.py").write_text("print('training')\n")
    with pytest.raises(CheckoutError, match="shows no flags"):
        run_on(tmp_path)


def test_side_work_is_turned_off_in_the_way_that_the_version_knows(tmp_path: Path):
    # Before it was known as "never", -1 meant every step.
    flags = told(run_on(write_checkout(tmp_path)))
    assert (flags["core-metric-every"], flags["sample-every"]) == ("-1", "1000000000")
    with (tmp_path / "scripts" / "base_train.py").open("a") as script:
        script.write("if args.sample_every > 0 and last: sample()\n")
    assert told(run_on(tmp_path))["sample-every"] == "-1"


def test_a_script_that_would_evaluate_core_at_its_end_whatever_it_is_told_is_told_of(tmp_path: Path):
    checkout = write_checkout(tmp_path, without=("core_metric_every",), more={"core_metric_every": "2000"})
    spec = run_on(checkout)
    assert told(spec)["core-metric-every"] == "1000000000"
    assert "can't be kept from evaluating CORE once" in nanochat_command(spec, model_tag="t").notes[0]


def test_a_denser_end_of_the_evaluations_is_said_not_to_be_had(tmp_path: Path):
    write_checkout(tmp_path)
    (note,) = nanochat_command(run_on(tmp_path, eval_every=5, eval_every_late=1), model_tag="t").notes
    assert "every 5 steps to the end: LANE_B_EVAL_EVERY_LATE has no flag" in note
    assert nanochat_command(run_on(tmp_path), model_tag="t").notes == ()


def test_a_run_that_ends_within_its_warmup_is_told_so(tmp_path: Path):
    write_checkout(tmp_path, version="2026-07")
    (note,) = nanochat_command(run_on(tmp_path, steps=40), model_tag="t").notes
    assert "all of its 40 steps are warmup (40 steps)" in note
    assert nanochat_command(run_on(tmp_path, steps=41), model_tag="t").notes == ()


def test_a_version_that_leaves_weights_to_chance_is_told_of(tmp_path: Path):
    write_checkout(tmp_path, version="2026-02")
    model = tmp_path / "nanochat" / "gpt.py"
    made = "class GPT:\n    def __init__(self):\n        self.smear_gate = 1\n    def init_weights(self):\n        "
    model.write_text(f"{made}self.wte = 0\n")
    (note,) = nanochat_command(run_on(tmp_path), model_tag="t").notes
    assert "its runs can't be repeated" in note
    model.write_text(f"{made}self.smear_gate = 0\n")
    assert nanochat_command(run_on(tmp_path), model_tag="t").notes == ()


def test_the_seed_goes_beside_the_flags_of_a_version_that_has_none_for_it(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path, without=("model_tag", "run", "save_every")), device="cuda")
    arguments = nanochat_command(spec, model_tag="t", base_dir=tmp_path / "own").arguments
    own = arguments[: arguments.index("--then")]
    assert own[own.index("--seed") + 1] == "41" and f"NANOCHAT_BASE_DIR={tmp_path / 'own'}" in own
    assert not any("OMP_NUM_THREADS" in argument for argument in own)
    assert not any(name.startswith(("model-tag", "run", "seed", "save")) for name in told(spec))


def test_base_directories_with_other_shards_give_other_runs(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat", version="2026-07")
    specs = []
    for name, numbers in (("two", (0, 1)), ("three", (0, 1, 2)), ("others", (0, 2)), ("same", (0, 1))):
        for number in numbers:
            write_shard(tmp_path / name, number)
        CheckoutData.in_files(training_files(tmp_path / name), None).write(tmp_path / name)
        shards = SHARDS.model_copy(update={"path": str(tmp_path / name)})
        specs.append(lane_spec(shards, *knobs_on(checkout), seed=41, steps=20))
    two, three, others, same = specs
    assert len({two.fingerprint, three.fingerprint, others.fingerprint}) == 3
    assert same.fingerprint == two.fingerprint and three.recipe != two.recipe


def test_under_torchrun_the_world_size_is_identity_and_each_process_gets_the_seed(tmp_path: Path, monkeypatch):
    checkout = write_checkout(tmp_path, version="2026-07")
    monkeypatch.setattr(hardware, "resolve_device", lambda device: "cuda")
    torchrun = {"device": "cuda", "launcher": "torchrun"}
    alone = run_on(checkout, device="cuda")
    eight = run_on(checkout, **torchrun, launcher_args="--standalone --nproc_per_node=8")
    assert (alone.nanochat_world_size, eight.nanochat_world_size) == (1, 8)
    assert eight.fingerprint != alone.fingerprint and eight.total_batch_size == alone.total_batch_size
    arguments = list(nanochat_command(eight, model_tag="t", base_dir=tmp_path / "own").arguments)
    first = arguments.index("--then")
    launched = arguments[first + 1 :]
    assert f"NANOCHAT_BASE_DIR={tmp_path / 'own'}" in arguments[:first] and "--seed" not in arguments[:first]
    assert arguments[arguments.index("--module") + 1] == "torch.distributed.run"
    assert launched[:2] == ["--standalone", "--nproc_per_node=8"] and launched[2].endswith("run_checkout.py")
    assert launched[3 : launched.index("--then")] == ["--", "--checkout", str(tmp_path), "--seed", "41"]
    assert "--depth=2" in launched[launched.index("--then") :]
    with pytest.raises(ValueError, match="LANE_B_TOTAL_BATCH_SIZE"):
        run_on(checkout, **torchrun, launcher_args="--nproc_per_node=3", total_batch_size=2048)


def test_torchrun_on_a_cpu_is_refused(tmp_path: Path):
    with pytest.raises(CheckoutError, match="on a CPU a checkout's processes train apart"):
        run_on(write_checkout(tmp_path), launcher="torchrun", launcher_args="--nproc_per_node=2")
    # The machine that trains may be another one than the machine that asked.
    with pytest.raises(CheckoutError, match="on a CPU a checkout's processes train apart"):
        nanochat_command(spec_of(tmp_path, nanochat_launcher=("--standalone",)), model_tag="t")


def test_a_spec_that_does_not_say_what_is_told_is_told_whole(tmp_path: Path):
    older = json.loads(spec_of(write_checkout(tmp_path)).to_json())
    del older["nanochat_told"], older["warmup_steps"], older["nanochat_flags"]
    assert {"matrix-lr", "warmup-ratio", "total-batch-size"} <= set(told(RunSpec.model_validate(older)))
