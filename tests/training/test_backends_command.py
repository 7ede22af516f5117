import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in_checkout import spec_of, write_checkout

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.training.nanochat import checkout_help, flags_of, nanochat_command

HELP = """\
usage: base_train.py [-h] [--run RUN] [--depth DEPTH] [--unlisted X]

Pretrain base model, --described is not a flag

options:
  -h, --help            show this help message and exit
  --run RUN             wandb run name ('dummy' disables wandb logging)
  --device_type DEVICE_TYPE
                        cuda|cpu|mps (empty =
                        autodetect), beats --older
  -d DEPTH, --depth DEPTH
  \x1b[1;36m--sample-every\x1b[0m \x1b[33mN\x1b[0m  sample every N steps (-1 = disable)
"""


def help_without(*names: str) -> str:
    flags = (
        "run", "device-type", "depth", "aspect-ratio", "head-dim", "max-seq-len", "window-pattern", "num-iterations",
        "device-batch-size", "total-batch-size", "embedding-lr", "unembedding-lr", "matrix-lr", "scalar-lr",
        "weight-decay", "warmup-ratio", "warmdown-ratio", "final-lr-frac", "eval-every", "eval-tokens", "model-tag",
    )  # fmt: skip
    return "options:\n" + "".join(f"  --{name} X\n" for name in flags if name not in names)


def test_flags_are_those_of_the_options_with_what_is_said_about_them():
    flags = flags_of(HELP)
    assert set(flags) == {"help", "run", "device_type", "depth", "sample_every"}
    assert flags["device_type"] == ("device_type", "DEVICE_TYPE cuda|cpu|mps (empty = autodetect), beats --older")
    assert flags["sample_every"][0] == "sample-every" and "-1" in flags["sample_every"][1]


def test_flags_come_from_the_script_itself_by_its_own_interpreter(tmp_path: Path):
    checkout = find_checkout(str(write_checkout(tmp_path, without=("scalar-lr",), more=("new-thing",))), sys.executable)
    flags = flags_of(checkout_help(checkout))
    assert "new_thing" in flags and "scalar_lr" not in flags
    assert flags["aspect_ratio"][0] == "aspect-ratio"


def test_a_version_that_spells_its_flags_with_underscores_is_told_them_so(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path))
    command = nanochat_command(spec, help_without().replace("max-seq-len", "max_seq_len"), model_tag="t")
    assert "--max_seq_len=64" in command.arguments and "--aspect-ratio=32" in command.arguments


def test_a_version_older_than_argparse_is_read_from_its_settings(tmp_path: Path):
    write_checkout(tmp_path)
    (tmp_path / "scripts" / "base_train.py").write_text(
        "import os\nrun = 'dummy' # wandb run name\ndepth = 20\nsample_every = 2000 # every how many\n"
        "config_keys = [k for k in globals()]\nopen(os.path.join('nanochat', 'configurator.py'))\nlater = 1\n"
    )
    flags = flags_of(checkout_help(find_checkout(str(tmp_path), sys.executable)))
    assert {"run", "depth", "sample_every"} <= set(flags) and "later" not in flags


def test_all_that_a_version_can_not_be_given_is_refused_by_name(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path), window_pattern="SL", final_lr_share=0.1, scalar_lr=0.4, n_kv_head=1)
    with pytest.raises(CheckoutError) as error:
        text = help_without("window-pattern", "final-lr-frac", "scalar-lr", "num-iterations", "eval-tokens")
        nanochat_command(spec, text, model_tag="t")
    message = str(error.value)
    for name in (
        "LANE_B_WINDOW_PATTERN=SL (it has no --window-pattern)", "LANE_B_FINAL_LR_SHARE=0.1", "LANE_B_SCALAR_LR=0.4",
        "a horizon in steps=20 (it has no --num-iterations)", "LANE_B_EVAL_TOKENS=512", "LANE_B_N_KV_HEAD=1",
    ):  # fmt: skip
        assert name in message
    assert str(tmp_path) in message and "LANE_B_BACKEND=builtin" in message


def test_what_a_version_without_the_flag_does_anyway_is_not_refused(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path), aspect_ratio=64, head_dim=128)
    text = help_without("aspect-ratio", "head-dim", "window-pattern", "scalar-lr", "warmup-ratio", "final-lr-frac")
    arguments = nanochat_command(spec, text, model_tag="t").arguments
    assert not any(argument.startswith(("--aspect", "--window", "--scalar")) for argument in arguments)


def test_a_denser_end_of_the_evaluations_is_said_not_to_be_had(tmp_path: Path):
    write_checkout(tmp_path)
    (note,) = nanochat_command(spec_of(tmp_path, eval_every_late=1), help_without(), model_tag="t").notes
    assert "every 5 steps to the end: LANE_B_EVAL_EVERY_LATE has no flag" in note
    assert nanochat_command(spec_of(tmp_path), help_without(), model_tag="t").notes == ()


def test_only_what_the_version_has_is_told_and_the_seed_goes_beside_it(tmp_path: Path):
    spec = spec_of(write_checkout(tmp_path), device="cuda")
    command = nanochat_command(spec, help_without("model-tag", "run"), model_tag="t", base_dir=tmp_path / "own")
    own = command.arguments[: command.arguments.index("--")]
    told = command.arguments[command.arguments.index("--") + 1 :]
    assert own[own.index("--seed") + 1] == "41" and f"NANOCHAT_BASE_DIR={tmp_path / 'own'}" in own
    assert not any("OMP_NUM_THREADS" in argument for argument in own)
    assert not any(argument.startswith(("--model", "--run", "--seed", "--save")) for argument in told)


def test_an_interpreter_is_the_given_one_else_the_checkouts_else_this_one(tmp_path: Path):
    root = write_checkout(tmp_path)
    assert find_checkout(str(root)) == Checkout(root, Path(sys.executable))
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    assert find_checkout(str(root)).python == root / ".venv" / "bin" / "python"
    assert find_checkout(str(root), sys.executable).python == Path(sys.executable)
    with pytest.raises(CheckoutError, match="LANE_B_NANOCHAT_PYTHON='/no/python': no such interpreter"):
        find_checkout(str(root), "/no/python")


@pytest.mark.parametrize("directory", ["", "nowhere", "."])
def test_a_place_without_a_checkout_is_refused(tmp_path: Path, directory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckoutError, match=r"LANE_B_NANOCHAT_DIR=.*no scripts/base_train\.py there"):
        find_checkout(directory)


def test_a_checkout_whose_dependencies_are_missing_is_named_with_the_reason(tmp_path: Path):
    write_checkout(tmp_path)
    (tmp_path / "scripts" / "base_train.py").write_text("import argparse, rustbpe\n")
    with pytest.raises(CheckoutError, match=r"failed with exit status 1: .*No module named 'rustbpe'\. Does .*python"):
        checkout_help(find_checkout(str(tmp_path), sys.executable))
    with pytest.raises(CheckoutError, match="took more than 0 s"):
        find_checkout(str(tmp_path), sys.executable).run("-c", "import time; time.sleep(60)", timeout=0.2)


def git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def test_the_commit_of_a_checkout_is_known_where_git_knows_it(tmp_path: Path):
    checkout = find_checkout(str(write_checkout(tmp_path)), sys.executable)
    assert checkout.commit == ""
    for arguments in (["init"], ["add", "-A"], ["commit", "-m", "all of it"], ["tag", "v1"]):
        git(tmp_path, *arguments)
    assert re.fullmatch("[0-9a-f]{12}", checkout.commit)
    clean = checkout.commit
    (tmp_path / "scripts" / "base_train.py").write_text("# another\n")
    assert checkout.commit == f"{clean}-dirty"


def test_whatever_changes_the_code_of_a_checkout_changes_its_fingerprint_and_nothing_else_does(tmp_path: Path):
    checkout = find_checkout(str(write_checkout(tmp_path / "a")), sys.executable)
    known = {checkout.code_fingerprint}
    for name in ("scripts/base_train.py", "nanochat/new.py", "pyproject.toml", "uv.lock"):
        (tmp_path / "a" / name).write_text("# another\n")
        assert checkout.code_fingerprint not in known
        known.add(checkout.code_fingerprint)
    before = checkout.code_fingerprint
    for name in (
        "README.md", ".venv/lib/x.py", "env/pyvenv.cfg", "env/lib/x.py", "nanochat/__pycache__/x.pyc", ".git/x.py",
        "base/base_data/shard_1", "wandb/run/files/code/x.py",
    ):  # fmt: skip
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text("new")
    assert checkout.code_fingerprint == before
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert find_checkout(str(tmp_path / "b"), sys.executable).code_fingerprint == before
