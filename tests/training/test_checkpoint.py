import random

import pytest
import torch

from laneb.training import checkpoint

CPU = torch.device("cpu")


def state(step: int) -> dict[str, object]:
    return {"model": {"weight": torch.full((3,), float(step))}, "step": step}


def test_the_last_two_are_kept_the_latest_first(tmp_path):
    for step in (5, 10, 100):
        checkpoint.save(tmp_path, step, state(step))
    assert [step for step, _ in checkpoint.found(tmp_path)] == [100, 10]
    loaded = checkpoint.load(checkpoint.path_of(tmp_path, 100), CPU)
    assert torch.equal(loaded["model"]["weight"], torch.full((3,), 100.0))


def test_a_half_written_file_is_no_checkpoint(tmp_path):
    (tmp_path / ".step_00000007.pt.tmp").write_bytes(b"half")
    assert checkpoint.found(tmp_path) == []
    assert checkpoint.found(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut short"])
def test_a_broken_file_says_which(tmp_path, content):
    path = checkpoint.path_of(tmp_path, 3)
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=r"step_00000003\.pt can't be read"):
        checkpoint.load(path, CPU)


def test_no_flipped_bit_of_a_checkpoint_passes_for_another_state(tmp_path):
    path = checkpoint.save(tmp_path, 3, {"model": {"weight": torch.arange(40.0)}, "step": 3})
    whole, draw, noticed = path.read_bytes(), random.Random(5), 0
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            state = checkpoint.load(path, CPU)
            assert torch.equal(state["model"]["weight"], torch.arange(40.0)) and state["step"] == 3
        except checkpoint.CheckpointError:
            noticed += 1
    assert noticed > 100


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("harm",)

    path = checkpoint.path_of(tmp_path, 3)
    torch.save({"model": Harmful()}, path)
    with pytest.raises(checkpoint.CheckpointError, match="can't be read: UnpicklingError"):
        checkpoint.load(path, CPU)


def test_a_file_without_a_model_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 3, {"other": 1})
    with pytest.raises(checkpoint.CheckpointError, match="holds no model"):
        checkpoint.load(path, CPU)


def test_a_place_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoint.CheckpointError, match=r"step_00000003\.pt can't be written: .*no older one"):
        checkpoint.save(tmp_path / "file", 3, state(3))
