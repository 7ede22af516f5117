"""How a log came to its file, and where the file ends."""

import gzip

import pytest
import zstandard
from made_logs import CURVE, HEADER, WHOLE, footer, steps

from laneb.training.log import parse_log

BANNER = "\n   █████ nanochat █████\r\n\x1b[1;32mAutodetected device type: cpu\x1b[0m\n"
DRESSED = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "old mac line ends": lambda text: text.replace("\n", "\r"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "colours": lambda text: "".join(f"\x1b[32m{line}\x1b[0m\n" for line in text.splitlines()),
    "links": lambda text: "".join(f"\x1b]8;;http://x\x1b\\{line}\x1b]8;;\x07\n" for line in text.splitlines()),
    "banner": lambda text: BANNER + text,
    "other libraries": lambda text: text.replace(
        "\n", "\nW0412 step 3 of dynamo | loss\nStep 5: saved\n[INFO] x | y\n"
    ),
    "ranks": lambda text: "".join(f"[rank0]: {line}\n" for line in text.splitlines()),
    "torchrun prefix": lambda text: "".join(f"[default0]:{line}\n" for line in text.splitlines()),
    "srun label": lambda text: "".join(f" 0: {line}\n" for line in text.splitlines()),
    "docker compose": lambda text: "".join(f"trainer-1  | {line}\n" for line in text.splitlines()),
    "ray": lambda text: "".join(f"(RayTrainWorker pid=71, ip=10.0.0.1) {line}\n" for line in text.splitlines()),
    "iso times": lambda text: "".join(f"2026-02-03T10:11:12.345+01:00 {line}\n" for line in text.splitlines()),
    "times in brackets": lambda text: "".join(f"[2026-02-03 10:11:12,345] {line}\n" for line in text.splitlines()),
    "mpirun": lambda text: "".join(f"[1,0]<stdout>: {line}\n" for line in text.splitlines()),
    "journald": lambda text: "".join(f"Feb 03 10:11:12 n1 python3[71]: {line}\n" for line in text.splitlines()),
    "container": lambda text: "".join(f"2026-02-03T10:11:12.3456Z stdout F {line}\n" for line in text.splitlines()),
    "several prefixes": lambda text: "".join(f"0: 10:11:12 INFO: [rank0]:{line}\n" for line in text.splitlines()),
    "gzip": lambda text: gzip.compress(text.encode()),
    "two gzips": lambda text: gzip.compress(text[:900].encode()) + gzip.compress(text[900:].encode()) + bytes(512),
    "zstd": lambda text: zstandard.compress(text[:900].encode()) + zstandard.compress(text[900:].encode()),
    "indented": lambda text: "".join(f"  {line}  \n" for line in text.splitlines()),
    "progress bars": lambda text: text.replace("\n", "\n 10%|█   | 1/10\r 20%|██  | 2/10\r"),
    "invalid utf-8": lambda text: text.encode().replace(b"\n", b"\n\xff\xc3\x28\n"),
    "no end of line at the end": lambda text: text.rstrip("\n"),
    "zeros after a power cut": lambda text: text.encode() + b"\x00" * 5000,
    "a huge line": lambda text: text.replace("Total batch", "x" * 3_000_000 + "\nTotal batch"),
}


@pytest.mark.parametrize("dress", DRESSED.values(), ids=DRESSED.keys())
def test_how_a_log_came_to_its_file_changes_nothing(dress):
    assert parse_log(dress(WHOLE)).to_json_dict() == parse_log(WHOLE).to_json_dict()


@pytest.mark.parametrize("name", [name for name in DRESSED if name != "a huge line"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_where_a_file_is_cut_into_blocks_changes_nothing(monkeypatch, name, size):
    short = HEADER + steps(0, 12, {0: 3.2, 6: 1.2, 12: 1.0}) + steps(5, 20, {5: 1.3, 20: 0.95}) + footer(0.95)
    expected = parse_log(short).to_json_dict()
    assert expected["status"] == "ok" and expected["val_curve"] == [[0, 3.2], [5, 1.3], [20, 0.95]]
    monkeypatch.setattr("laneb.training.logs.text.BLOCK_BYTES", size)
    assert parse_log(DRESSED[name](short)).to_json_dict() == expected


def test_a_log_cut_anywhere_is_never_ok_before_its_last_digit():
    whole = WHOLE.encode()
    begin = whole.index(b"Total training time")
    for size in range(begin, len(whole) - 1):
        assert parse_log(whole[:size]).status == "failed"
    assert parse_log(whole[:-1]).status == parse_log(whole).status == "ok"


@pytest.mark.parametrize(
    "cut",
    [
        "Step 0",
        "step 00000/00300 (0.00%) | los",
        "Tokens : Scaling params ratio: 0.0",
        "Step 00000 | Validation bpb: 3",
    ],
)
def test_a_cut_line_of_a_new_start_still_shows_that_the_run_is_not_complete(cut):
    assert parse_log(WHOLE + cut).status == "failed"


@pytest.mark.parametrize(("minimum", "status"), [("1.0123", "failed"), ("1.012346", "ok"), ("1.0123\n", "ok")])
def test_a_minimum_that_lacks_digits_behind_a_lone_evaluation_does_not_count(minimum, status):
    assert parse_log(f"Step 00012 | Validation bpb: 1.154546\nMinimum validation bpb: {minimum}").status == status


def test_a_cut_evaluation_does_not_enter_the_curve():
    whole = HEADER + steps(0, 200, CURVE)
    assert whole.endswith("1.000000\n")
    assert parse_log(whole[:-4]).val_curve == [[0, 3.2], [100, 1.2]]


def test_a_line_glued_to_one_that_was_cut_is_passed_over():
    text = HEADER + steps(0, 99, CURVE) + "step 00099/00300 (33.00%) | loss: 3.4Autodetected device type: cpu\n" + WHOLE
    log = parse_log(text)
    assert log.status == "ok" and log.val_curve == parse_log(WHOLE).val_curve
