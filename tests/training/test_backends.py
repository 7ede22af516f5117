import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from run_facts import drawn, with_files_up_to
from stand_in_checkout import HARDWIRED, behave, run_on, spec_of, write_checkout, write_shard

from laneb.corpus.checkout import CheckoutError, find_checkout
from laneb.corpus.checkout_data import CheckoutData, training_files
from laneb.corpus.checkout_tokenizer import CheckoutTokenizer
from laneb.model.scaling import count_parameters
from laneb.records.runs import RunResult
from laneb.training.backends.nanochat import train_in_checkout
from laneb.training.checkout_files import Checkpoints, own_base_dir
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.log import parse_log
from laneb.training.progress import read_progress
from laneb.training.spec import RunSpec


def train(spec: RunSpec, run_dir: Path, said: list[str] | None = None) -> RunResult:
    run_dir.mkdir(parents=True, exist_ok=True)
    return train_in_checkout(spec, run_dir, StopRequest(), (said if said is not None else []).append)


def argv_of(run_dir: Path) -> list[str]:
    line = next(line for line in (run_dir / "train.log").read_text().splitlines()[::-1] if line.startswith("argv: "))
    return json.JSONDecoder().raw_decode(line.removeprefix("argv: "))[0]


def test_a_run_of_a_checkout_gives_the_result_that_one_of_ours_gives(tmp_path: Path, capfdbinary):
    spec, run_dir, said = spec_of(write_checkout(tmp_path / "nanochat")), tmp_path / "run", []
    result = train(spec, run_dir, said)
    assert (result.status, result.backend, result.seed, result.steps) == ("ok", "nanochat", 41, 20)
    assert (result.fingerprint, result.recipe, result.run_id) == (spec.fingerprint, spec.recipe, spec.run_id)
    assert result.n_scaling_params == spec.n_scaling_params == 320 * 64 + 98_368
    assert [(point.step, point.bpb) for point in result.val_curve] == [
        (0, 3.041), (5, 2.541), (10, 2.041), (15, 1.541), (20, 1.041),
    ]  # fmt: skip
    assert result.val_curve[-1].seconds == pytest.approx(9 * 0.6)
    assert (result.dt_median_ms, result.tok_per_sec_median, result.peak_mem_mib) == (600.0, 3413.0, 812.4)
    assert RunResult.from_json((run_dir / "result.json").read_text()) == result
    log = (run_dir / "train.log").read_bytes()
    assert log in capfdbinary.readouterr().out and result.log_path == "train.log"
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "evaluation"] == [0, 5, 10, 15, 20]
    assert any("step 20 of 20, validation bpb 1.0410" in sentence for sentence in said)


def test_the_script_is_told_all_that_the_spec_says(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path / "nanochat"), wandb_run_base="mine")
    train(spec, tmp_path / "run")
    told = dict(argument.removeprefix("--").split("=", 1) for argument in argv_of(tmp_path / "run"))
    assert told == {
        "depth": "2", "aspect-ratio": "32", "head-dim": "32", "max-seq-len": "64", "window-pattern": "L",
        "num-iterations": "20", "device-batch-size": "2", "total-batch-size": "2048", "eval-every": "5",
        "eval-tokens": "512", "embedding-lr": "0.3", "unembedding-lr": "0.004", "matrix-lr": "0.02", "scalar-lr": "0.5",
        "weight-decay": "0.2", "warmup-ratio": "0.0", "warmdown-ratio": "0.5", "final-lr-frac": "0.0",
        "device-type": "cpu", "run": "mine_d2_i20_s41", "model-tag": f"laneb_{spec.fingerprint}", "save-every": "10",
        "core-metric-every": "-1", "sample-every": "1000000000",
    }  # fmt: skip


@pytest.mark.parametrize("version", ["2025-11", "2026-01", "2026-02", "2026-07"])
def test_every_style_of_script_trains_with_what_the_spec_says(tmp_path: Path, version: str):
    checkout = write_checkout(tmp_path / "nanochat", version=version)
    spec = run_on(checkout, **HARDWIRED, weight_decay=0.1, warmup_ratio=0.25, eval_every=10)
    counts = count_parameters(spec.shape).param_counts
    behave(checkout, batch=spec.total_batch_size, lm_head=counts.lm_head, matrices=counts.transformer_matrices)
    assert train(spec, tmp_path / "run").status == "ok"
    log = (tmp_path / "run" / "train.log").read_text().splitlines()
    flags = json.loads(next(line for line in log if line.startswith("flags: ")).removeprefix("flags: "))
    same = {"embedding_lr", "unembedding_lr", "matrix_lr", "weight_decay", "warmdown_ratio", "depth", "max_seq_len",
            "device_batch_size", "eval_every", "eval_tokens"}  # fmt: skip
    assert {name: flags[name] for name in same} == {name: getattr(spec, name) for name in same}
    assert (flags["final_lr_frac"], flags["num_iterations"]) == (spec.final_lr_share, 20)
    assert flags.get("warmup_steps", 20 * flags.get("warmup_ratio", 0)) == 5
    assert {name: flags[name] for name in spec.nanochat_flags} == spec.nanochat_flags


def test_the_seed_wins_over_the_scripts_own_constant(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat")
    finals = {train(spec_of(checkout, seed=seed), tmp_path / str(seed)).final_val_bpb for seed in (41, 43)}
    assert finals == {1.041, 1.043}
    assert "cuda: 41 omp: 3" in (tmp_path / "41" / "train.log").read_text()


def test_a_script_with_a_seed_flag_is_given_it(tmp_path: Path):
    train(spec_of(write_checkout(tmp_path / "nanochat", more={"seed": "42"})), tmp_path / "run")
    assert "--seed=41" in argv_of(tmp_path / "run")
    assert "cuda: 42" in (tmp_path / "run" / "train.log").read_text()


def test_each_run_has_its_own_base_directory_with_the_shared_data_linked(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat"), tmp_path / "run"
    spec = spec_of(checkout)
    train(spec, run_dir)
    own = run_dir / "nanochat"
    assert f"base: {own} " in (run_dir / "train.log").read_text()
    assert sorted(path.name for path in own.iterdir()) == ["base_checkpoints", "base_data", "tokenizer"]
    assert (own / "tokenizer").is_symlink() and not (own / "base_checkpoints").is_symlink()
    assert [path.name for path in (own / "base_checkpoints").iterdir()] == [f"laneb_{spec.fingerprint}"]
    assert sorted(p.name for p in (checkout / "base" / "base_checkpoints").iterdir()) == ["d2"]
    assert own_base_dir(checkout / "base", own) == own


def asked_on(checkout: Path, shards: Path, **more: object) -> RunSpec:
    """A run that was asked for when the checkout's data was what it is now."""
    with CheckoutTokenizer(find_checkout(str(checkout), sys.executable)) as tokenizer:
        data = CheckoutData.in_files(training_files(tokenizer.data_dir), None)
        data.write(shards)
        return spec_of(checkout, shards_path=str(shards), tokenizer_id=tokenizer.tokenizer_id, **more)


def files_of(run_dir: Path) -> list[str]:
    line = next(line for line in (run_dir / "train.log").read_text().splitlines()[::-1] if line.startswith("files: "))
    return json.loads(line.removeprefix("files: "))


def test_a_run_trains_on_the_files_that_it_was_asked_with_whatever_comes_to_them(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", crash_at=13), tmp_path / "run"
    spec, said = asked_on(checkout, tmp_path / "shards"), list[str]()
    names = [f"shard_{number:05d}.parquet" for number in range(3)]
    with pytest.raises(CheckoutError, match="ended with exit status 1"):
        train(spec, run_dir)
    assert files_of(run_dir) == names
    write_shard(checkout / "base" / "base_data", 3)
    assert train(spec, run_dir, said).status == "ok"
    assert files_of(run_dir) == names
    assert any("1 files came to" in sentence and "it trains without them" in sentence for sentence in said)


def test_data_or_a_tokenizer_that_changed_since_is_refused_before_training(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat"), tmp_path / "run"
    spec = asked_on(checkout, tmp_path / "shards")
    write_shard(checkout / "base" / "base_data", 1, documents=7)
    with pytest.raises(
        CheckoutError, match=r"of its files 1 changed\. Every run is another one\. Materialize token_sh"
    ):
        train(spec, run_dir)
    (checkout / "base" / "base_data" / "shard_00001.parquet").unlink()
    with pytest.raises(CheckoutError, match="of its files 1 removed"):
        train(spec, run_dir)
    (checkout / "base" / "tokenizer" / "token_bytes.pt").write_text("another count")
    with pytest.raises(CheckoutError, match=r"the tokenizer at .* was changed since the run was asked for"):
        train(spec, run_dir)
    assert not (run_dir / "train.log").exists()


def test_a_crash_is_named_and_the_next_start_goes_on_from_the_last_checkpoint(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", crash_at=13), tmp_path / "run"
    with pytest.raises(CheckoutError, match=r"ended with exit status 1; the end of .*train\.log says why"):
        train(spec_of(checkout), run_dir)
    assert "CUDA out of memory" in (run_dir / "train.log").read_text()
    assert not (run_dir / "result.json").exists()
    said: list[str] = []
    result = train(spec_of(checkout), run_dir, said)
    assert "--resume-from-step=10" in argv_of(run_dir) and any("goes on from step 10" in one for one in said)
    assert [point.step for point in result.val_curve] == [0, 5, 10, 15, 20]
    assert (result.status, parse_log(run_dir / "train.log").segments) == ("ok", 2)


def test_a_broken_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", crash_at=13), tmp_path / "run"
    spec = spec_of(checkout, checkpoint_every=6)
    with pytest.raises(CheckoutError):
        train(spec, run_dir)
    folder = run_dir / "nanochat" / "base_checkpoints" / f"laneb_{spec.fingerprint}"
    assert Checkpoints(run_dir / "nanochat", "*").latest() == 12
    (folder / "model_000012.pt").write_text("half")
    said: list[str] = []
    assert train(spec, run_dir, said).status == "ok"
    assert "--resume-from-step=6" in argv_of(run_dir)
    assert any("the checkpoint of step 12 can't be read; going back" in sentence for sentence in said)
    assert any("going back" in sentence for sentence in said)


def test_a_checkpoint_that_lacks_a_file_does_not_count(tmp_path: Path):
    for name in ("model_000010.pt", "meta_000010.json", "optim_000010_rank0.pt", "model_000020.pt", "meta_000020.json"):
        (tmp_path / "base_checkpoints" / "d2").mkdir(parents=True, exist_ok=True)
        (tmp_path / "base_checkpoints" / "d2" / name).write_text("")
    assert Checkpoints(tmp_path, "d2").latest() == Checkpoints(tmp_path, "*").latest() == 10
    assert Checkpoints(tmp_path, "d2", world_size=2).latest() == 0
    assert Checkpoints(tmp_path, "d3").latest() == Checkpoints(tmp_path / "nowhere", "*").latest() == 0


def kept_of(run_dir: Path) -> set[str]:
    return {path.name for path in run_dir.glob("nanochat/base_checkpoints/*/*")}


def test_a_run_keeps_its_latest_two_checkpoints_while_it_trains_and_none_after_its_result(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", crash_at=17), tmp_path / "run"
    with pytest.raises(CheckoutError):
        train(spec_of(checkout, checkpoint_every=3), run_dir)
    assert {name[:12] for name in kept_of(run_dir) if name.startswith("model")} == {"model_000012", "model_000015"}
    assert len(kept_of(run_dir)) == 6
    assert train(spec_of(checkout, checkpoint_every=3), run_dir).status == "ok"
    assert kept_of(run_dir) == set()
    assert (checkout / "base" / "base_checkpoints" / "d2" / "model_000005.pt").read_text() == "someone else's"


def test_the_final_weights_are_kept_where_they_are_asked_for(tmp_path: Path):
    train(spec_of(write_checkout(tmp_path / "nanochat"), keep_model=True), tmp_path / "run")
    assert kept_of(tmp_path / "run") == {"model_000020.pt", "meta_000020.json"}


def test_a_version_that_can_not_resume_begins_again(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat", without=("resume_from_step",), crash_at=13)
    with pytest.raises(CheckoutError):
        train(spec_of(checkout), tmp_path / "run")
    behave(checkout)
    result = train(spec_of(checkout), tmp_path / "run")
    assert [point.step for point in result.val_curve] == [0, 5, 10, 15, 20]


def test_a_nan_ends_the_run_as_failed_nan_without_waiting_for_the_rest(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat", nan_at=7)
    started = time.monotonic()
    result = train(spec_of(checkout), tmp_path / "run")
    assert time.monotonic() - started < 60
    assert (result.status, result.steps, [point.step for point in result.val_curve]) == ("failed_nan", 8, [0, 5])


def test_a_script_that_ends_without_its_last_line_is_not_ok(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat", silent_end=True)
    with pytest.raises(CheckoutError, match="ended without its last line, Minimum validation bpb"):
        train(spec_of(checkout), tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"matrices": 400_000}, "the checkout's model has 420,480 scaling parameters and that of the settings 118,848"),
        ({"batch": 4096}, r"total batch size 4,096 where 2,048 was asked for\. Set LANE_B_TOTAL_BATCH_SIZE=4096"),
        ({"vocab": 301}, "trains with vocab size 301 where 300 was asked for"),
        ({"tokens": 40_961}, "trains with total tokens 40,961 where 40,960 was asked for"),
        ({"ratio": 0.5}, r"trains at 0\.5 tokens per parameter where 0\.34 were asked for"),
    ],
)
def test_another_model_batch_or_ratio_than_asked_for_is_refused_at_its_first_step(tmp_path: Path, behaviour, message):
    checkout = write_checkout(tmp_path / "nanochat", hang_at=1, **behaviour)
    with pytest.raises(CheckoutError, match=message):
        train(spec_of(checkout), tmp_path / "run")


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"parameters": 700_000}, "the checkout's model has 700,000 parameters and that of the settings 475,172"),
        ({"ratio": 9.0}, r"trains at 9 tokens per parameter where 0\.09 were asked for"),
    ],
)
def test_early_versions_count_all_parameters_and_are_held_to_that(tmp_path: Path, behaviour, message):
    spec = run_on(write_checkout(tmp_path, version="2025-11"), **HARDWIRED, total_batch_size=2048)
    counts = count_parameters(spec.shape).param_counts
    behave(tmp_path, lm_head=counts.lm_head, matrices=counts.transformer_matrices, hang_at=1, **behaviour)
    with pytest.raises(CheckoutError, match=message):
        train(spec, tmp_path / "run")


def test_a_checkout_whose_code_was_changed_since_is_refused_before_training(tmp_path: Path):
    checkout = write_checkout(tmp_path / "nanochat")
    spec = spec_of(checkout, nanochat_code=find_checkout(str(checkout)).code_fingerprint)
    common = checkout / "nanochat" / "common.py"
    before = common.read_text()
    common.write_text(f"{before}# changed\n")
    with pytest.raises(CheckoutError, match=r"was changed since the run was asked for\. Materialize it again"):
        train(spec, tmp_path / "run")
    assert not (tmp_path / "run" / "train.log").exists()
    common.write_text(before)
    assert train(spec, tmp_path / "run").status == "ok"


def test_a_full_disk_is_said_with_the_file_that_it_refused(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat"), tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "spec.json").write_text(spec_of(checkout).to_json())
    # So few that no file of the script itself is refused before the log.
    status, errors = with_files_up_to(200, run_dir)
    assert status == 1 and len(errors.splitlines()) == 1
    assert f"error: {run_dir / 'train.log'} can't be written: File too large. Free some space" in errors
    assert train(spec_of(checkout), run_dir).status == "ok"


def test_a_few_parameters_more_are_counted_as_the_checkout_counts_them(tmp_path: Path):
    result = train(spec_of(write_checkout(tmp_path / "nanochat", matrices=98_400)), tmp_path / "run")
    assert result.n_scaling_params == 320 * 64 + 98_400


def test_a_vocabulary_that_is_not_the_checkouts_is_refused_before_training(tmp_path: Path):
    with pytest.raises(CheckoutError, match=r"LANE_B_VOCAB_SIZE=512: .* has 300 tokens\. Set LANE_B_VOCAB_SIZE=300"):
        train(spec_of(write_checkout(tmp_path / "nanochat"), vocab_size=512), tmp_path / "run")
    assert not (tmp_path / "run" / "train.log").exists()


def test_a_stop_ends_the_script_and_the_next_start_goes_on(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", hang_at=13), tmp_path / "run"
    run_dir.mkdir()
    stop = StopRequest()

    def stop_when_it_waits(sentence: str) -> None:
        if "step 10 of" in sentence:
            stop.signal_number = int(signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"):
        train_in_checkout(spec_of(checkout), run_dir, stop, stop_when_it_waits)
    behave(checkout)
    assert [point.step for point in train(spec_of(checkout), run_dir).val_curve] == [0, 5, 10, 15, 20]


@pytest.mark.slow
def test_torchrun_starts_a_checkouts_script_on_every_process_with_its_flags_and_the_seed_in_torch_itself(
    tmp_path: Path,
):
    checkout = write_checkout(tmp_path / "nanochat", stub_torch=False)
    script = checkout / "scripts" / "base_train.py"
    script.write_text(script.read_text().replace("torch.cuda._seed[0]", "torch.rand(1).item()"))
    spec = spec_of(checkout, device="cuda", nanochat_launcher=("--standalone", "--nproc_per_node=2"),
                   nanochat_world_size=2, nanochat_arguments=("--fp8",))  # fmt: skip
    assert train(spec, tmp_path / "run").final_val_bpb == 1.041
    assert {"--depth=2", "--fp8"} <= set(argv_of(tmp_path / "run"))
    log = (tmp_path / "run" / "train.log").read_text()
    assert "world: 2" in log
    import torch

    assert f"cuda: {torch.rand(1, generator=torch.Generator().manual_seed(41)).item()} " in log


@pytest.mark.slow
def test_the_training_command_trains_a_checkout_and_takes_its_script_along_when_killed(tmp_path: Path):
    checkout, run_dir = write_checkout(tmp_path / "nanochat", hang_at=13), tmp_path / "runs" / "run"
    run_dir.mkdir(parents=True)
    (run_dir / "spec.json").write_text(spec_of(checkout).to_json())
    command = [sys.executable, "-m", "laneb.training", str(run_dir / "spec.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line = b""
    while b"waiting" not in line:
        line = process.stdout.readline()
        assert line
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}/status").exists() and "Z" not in _state(child) for child in children):
        assert time.monotonic() < deadline
        threading.Event().wait(0.2)
    behave(checkout)
    done = subprocess.run(command, capture_output=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert RunResult.from_json((run_dir / "result.json").read_text()).status == "ok"


def _state(pid: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "Z"
    return next(line for line in lines if line.startswith("State:"))


def test_a_checkouts_run_is_drawn_from_its_log(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path / "nanochat")).model_copy(update={"trackers": ("tensorboard", "wandb")})
    result = train(spec, tmp_path / "run")
    curve = {point.step: point.bpb for point in result.val_curve}
    assert drawn(tmp_path / "run", "val/bpb") == pytest.approx(curve)
    assert list(drawn(tmp_path / "run", "train/tok_per_sec")) == list(range(20))
    progress = read_progress(tmp_path / "run")
    assert (progress.steps, progress.tok_per_sec, progress.eta_sec) == (20, 3413.0, 0.0)
    # Its script has W&B itself.
    assert progress.trackers == {"tensorboard": "tensorboard"}
    assert f"--run=laneb_{spec.run_id}" in argv_of(tmp_path / "run")
