"""What a file is in which no pretraining run was found: the nearest guess, in words for whoever gave it."""

from __future__ import annotations

import re

_WANTED = "What is read is the output of nanochat's scripts.base_train: `step 00100/01500 (6.67%) | loss: 3.4 | ...`"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip file, as torch.save writes checkpoints"),
    (b"PAR1", "a parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"BZh", "packed by bzip2: unpack it (gzip and zstd are read as they are)"),
    (b"\xfd7zXZ", "packed by xz: unpack it (gzip and zstd are read as they are)"),
    (b"\x80\x02", "a checkpoint, as older versions of torch.save wrote it"),
    (b"%PDF", "a PDF file"),
)
# In this order: the first that matches is the guess.
_KINDS: tuple[tuple[str, str], ...] = (
    (r"^# nanochat training report|^## Base model training|^- Minimum validation bpb:",
     "nanochat's report. Give the output of the run instead, as `... 2>&1 | tee train.log` keeps it"),
    (r"^step:\d+/\d+ (?:val_loss|train_time):", "the log of modded-nanogpt"),
    (r"^s:\d+ (?:tel|trl|hel):", "the main.log of llm.c"),
    (r"^step +\d+/\d+ \| loss [\d.]+ \(", "the output of llm.c"),
    (r"^iter \d+: loss [\d.]+|^step \d+: train loss [\d.]+, val loss", "the output of nanoGPT"),
    (r"^\{.*['\"](?:loss|train_loss)['\"]: ", "the log of Hugging Face's Trainer"),
    (r"^\{\"", "lines of JSON. Beside our own events.jsonl lies train.log"),
    (r"^(?:max_chars|doc_cap): [\d,]+|^Training time: [\d.]+s", "the output of nanochat's tokenizer training"),
    (r"^(?:train|val) bpb: [\d.]+|^CORE metric: [\d.]+|^Evaluating: ", "the output of nanochat's base_eval"),
    (r"^<(?:!doctype )?html", "a web page"),
    (r"^Traceback \(most recent call last\)", "a run that failed before its first step"),
    (r"^(?:usage: |error: )", "a command's complaint about its arguments"),
    (r"\bloss\b", "the log of another program, which speaks of a loss too"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern, re.MULTILINE | re.IGNORECASE), kind) for pattern, kind in _KINDS)


def nearest_guess(head: bytes, *, later_stages: bool = False) -> str:
    """What a file looks like, and what would be read.

    Args:
        head: how it begins, unpacked.
        later_stages: whether lines of mid-training, fine-tuning or reinforcement learning were seen in it.
    """
    if not head.strip(b"\x00\r\n\t "):
        return "the file is empty"
    if later_stages:
        return (
            "it looks like mid-training or fine-tuning alone, whose updates have no horizon (`step 00100 (6.67%)`). "
            f"{_WANTED}"
        )
    return f"it looks like {_kind(head)}. {_WANTED}"


def _kind(head: bytes) -> str:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    for pattern, kind in _COMPILED:
        if pattern.search(head[: 1 << 16].decode("utf-8", "replace").replace("\x00", "")):
            return kind
    odd = sum(byte < 9 or (13 < byte < 32 and byte != 27) for byte in head[:4096])
    return "a binary file, such as a checkpoint" if odd > len(head[:4096]) // 50 else "some other text"
