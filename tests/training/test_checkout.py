import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in_checkout import write_checkout

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.settings import Settings, load_settings
from laneb.training.checkout_knobs import customary_ratio


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
        find_checkout(str(tmp_path), sys.executable).run("-m", "scripts.base_train", "--help")
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


def test_whatever_trains_is_in_the_fingerprint_of_the_code_and_nothing_else_is(tmp_path: Path):
    checkout = find_checkout(str(write_checkout(tmp_path / "a")), sys.executable)
    trains = {
        "nanochat/gpt.py": "from . import rotary\nfrom .deep.norm import rms\n", "nanochat/rotary.py": "",
        "nanochat/deep/__init__.py": "", "nanochat/deep/norm.py": "def late():\n    import nanochat.kernels\n",
        "nanochat/kernels.py": "", "nanochat/named.py": "", "nanochat/setup_run.py": "",
    }  # fmt: skip
    script = (tmp_path / "a" / "scripts" / "base_train.py").read_text()
    imports = "from nanochat.gpt import GPT\nimportlib.import_module('nanochat.named')\nexec(open('setup_run.py'))\n"
    files = trains | {"scripts/base_train.py": imports + script, "pyproject.toml": "", "uv.lock": ""}
    known = set()
    for name, text in files.items():
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text(text)
    for name in [*files, "nanochat/common.py"]:
        with (tmp_path / "a" / name).open("a") as file:
            file.write("# another\n")
        assert checkout.code_fingerprint not in known, name
        known.add(checkout.code_fingerprint)
    before = checkout.code_fingerprint
    for name in (
        "README.md", "scripts/chat_web.py", "scripts/chat_sft.py", "tests/test_gpt.py", "dev/notes.py",
        "nanochat/engine.py", "nanochat/__pycache__/x.pyc", ".git/x.py", "base/base_data/shard_1", "tasks/arc.py",
    ):  # fmt: skip
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_text("import nanochat.gpt\n")
    assert checkout.code_fingerprint == before
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert find_checkout(str(tmp_path / "b"), sys.executable).code_fingerprint == before


def test_the_file_that_reads_early_versions_settings_is_part_of_what_trains(tmp_path: Path):
    checkout = find_checkout(str(write_checkout(tmp_path, version="2025-11")), sys.executable)
    before = checkout.code_fingerprint
    (tmp_path / "nanochat" / "configurator.py").write_text("# another")
    assert checkout.code_fingerprint != before


@pytest.mark.parametrize(("version", "ratio"), [("2026-02", 10.5), ("2026-07", 12.0), ("2025-11", 10.5)])
def test_the_default_ratio_is_the_checkouts_where_nobody_set_one(tmp_path: Path, version, ratio):
    # That of 2025 counts other parameters.
    checkout = write_checkout(tmp_path / "nanochat", version=version)
    (tmp_path / "mine.toml").write_text('experiment = "mine"')
    knobs = {"LANE_B_BACKEND": "nanochat", "LANE_B_NANOCHAT_DIR": str(checkout), "NANOCHAT_BASE_DIR": str(tmp_path)}

    def settings(**more: str) -> Settings:
        return load_settings(str(tmp_path / "mine.toml"), environ=knobs | more)

    assert customary_ratio(settings()) == ratio
    assert customary_ratio(settings(LANE_B_DEFAULT_RATIO="7")) == 7.0
    assert customary_ratio(settings(LANE_B_BACKEND="builtin")) == 10.5
