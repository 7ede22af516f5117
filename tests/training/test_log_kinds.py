"""Files that are more, other or less than one pretraining run's log."""

import gzip
from pathlib import Path

import pytest
import zstandard
from made_logs import CURVE, HEADER, WHOLE, footer, steps, train, validation

from laneb.training.log import LogError, NoLogError, parse_log, parse_logs, run_result_from_log

OTHER = HEADER.replace("25,165,824", "33,554,432").replace("16,384", "8,192")


def tuned(step: int) -> str:
    """An update as mid-training and fine-tuning print it: no horizon, counted from 1."""
    return f"step {step:05d} (1.00%) | loss: 1.200000 | lrm: 1.00 | dt: 50.00ms | tok/sec: 9 | mfu: 9.00 | total time: 0.01m\n"  # noqa: E501


LATER = "".join(
    validation(step, f"{bpb:.4f}") + tuned(step + 1) for step, bpb in ((0, 0.58), (100, 0.40), (200, 0.38))
) + footer("0.3600")  # fmt: skip
BATCH = "Tokens / micro-batch: 16,384\nTotal batch size 16,384 => gradient accumulation steps: 1\n"
STAGES = {
    "fine-tuning": "Inherited max_seq_len=2048 from pretrained checkpoint\n" + BATCH + LATER,
    "fine-tuning that crashed at once": "Inherited max_seq_len=2048 from pretrained checkpoint\n" + BATCH + "OOM\n",
    "fine-tuning that crashed before its first update": BATCH + validation(0, "0.5800"),
    "mid-training": "Autodetected device type: cuda\n" + BATCH + LATER,
    "mid-training that crashed at once": "Autodetected device type: cuda\n" + BATCH,
    "old fine-tuning": "Target examples per step: 32\nStep 00000 | Validation loss: 1.023456\n"
    "Step 00000/00701 | Training loss: 1.100000| lrm: 1.000000| num_tokens: 10,000\n" + validation(0, 0.3),
    "reinforcement learning": "Step 0/467 | Average reward: 0.1 | Average sequence length: 80\n" + validation(0, 0.3),
    "several": "Inherited max_seq_len=2048\n" + BATCH + LATER + "ChatCORE: 0.2 | x\n" + BATCH + LATER,
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_stages_that_follow_pretraining_in_its_file_change_nothing(stage):
    assert parse_log(WHOLE + "CORE metric: 0.1642\n" + stage).to_json_dict() == parse_log(WHOLE).to_json_dict()
    crashed = HEADER + steps(0, 250, CURVE)
    assert parse_log(crashed + stage).to_json_dict() == parse_log(crashed).to_json_dict()


@pytest.mark.parametrize("stage", ["fine-tuning", "mid-training"])
def test_a_later_stage_alone_is_no_pretraining_run(stage):
    with pytest.raises(NoLogError, match="mid-training or fine-tuning alone"):
        parse_logs(STAGES[stage])
    assert parse_log(STAGES[stage]).status == "failed"


def test_pretraining_that_goes_on_after_a_later_stage_is_read_on():
    killed = HEADER + steps(0, 250, {0: 3.2, 100: 1.2, 200: 1.0})
    resumed = HEADER + "Resuming optimization from step 200\n" + steps(200, 300, {200: 1.0, 300: 0.9}) + footer(0.9)
    log = parse_log(killed + STAGES["fine-tuning"] + resumed)
    assert (log.status, log.segments, log.total_batch_size) == ("ok", 2, 16384)
    assert log.val_curve == [[0, 3.2], [100, 1.2], [200, 1.0], [300, 0.9]]


@pytest.mark.parametrize("resumed", [0, 100])
def test_a_start_whose_headers_contradict_is_another_run(resumed):
    curve = {resumed: 2.0, 200: 0.8, 300: 0.7}
    text = WHOLE + OTHER + f"Resuming optimization from step {resumed}\n" + steps(resumed, 300, curve) + footer(0.7)
    first, second = parse_logs(text, threshold=0.95)
    assert first.to_json_dict() == parse_log(WHOLE, 0.95).to_json_dict() | {"runs": 2}
    assert (second.run, second.runs, second.total_batch_size, second.n_scaling_params) == (2, 2, 8192, 118_490_240)
    assert second.val_curve == [[resumed, 2.0], [200, 0.8], [300, 0.7]]
    last = parse_log(text, threshold=0.95)
    assert last.val_curve == second.val_curve and "holds 2 runs; this is the last" in last.warnings[0]


@pytest.mark.parametrize(
    "changed",
    [("16,384", "8,192"), ("ratio: 300", "ratio: 400"), ("84,935,808", "201,326,592"), ("lm_head", "seed: 7\nlm_head")],
)
def test_each_header_that_is_part_of_a_run_tells_another_run_by_itself(changed):
    text = "seed: 6\n" + WHOLE + HEADER.replace(*changed) + steps(100, 300, CURVE) + footer(0.9)
    assert [log.runs for log in parse_logs(text)] == [2, 2]
    assert len(parse_logs("seed: 6\n" + WHOLE + HEADER + steps(100, 300, CURVE) + footer(0.9))) == 1


def test_the_headers_of_another_run_that_never_stepped_do_not_spoil_the_one_before():
    first, second = parse_logs(WHOLE + OTHER)
    assert (first.status, second.status, second.realised_steps) == ("ok", "failed", 0)
    assert [log.status for log in parse_logs(WHOLE + HEADER)] == ["failed"]


def test_another_horizon_without_a_header_is_another_run():
    other = steps(0, 200, {0: 3.1, 200: 0.8}).replace("/00300", "/00200") + footer(0.8)
    assert [log.min_val_bpb for log in parse_logs(WHOLE + other)] == [0.9, 0.8]


def test_a_finished_run_that_an_equal_one_replaced_is_told():
    [log] = parse_logs(WHOLE + WHOLE.replace("0.900000", "0.910000"))
    assert log.min_val_bpb == 0.91 and "this one replaces it" in log.warnings[0]


def test_a_damaged_line_does_not_make_another_run():
    for damage in ("/00b00", "/0003", "/00301", "/", "/00300 (1%"):
        lines = steps(0, 300, CURVE).splitlines(True)
        lines[40] = lines[40].replace("/00300", damage)
        log = parse_log(HEADER + "".join(lines) + footer(0.9))
        assert (log.runs, log.status, log.val_curve) == (1, "ok", parse_log(WHOLE).val_curve)


def test_two_runs_that_print_in_turns_are_a_warning():
    one, two = steps(0, 200, CURVE).splitlines(True), steps(0, 200, CURVE).replace("3.5", "3.6").splitlines(True)
    in_step = "".join(a + b for a, b in zip(one, two, strict=True))
    apart = "".join(a + b for a, b in zip(one[60:], two, strict=False))
    other_horizon = "".join(a + b.replace("/00300", "/00400") for a, b in zip(one, two, strict=True))
    for text in (in_step, apart, other_horizon):
        assert all("print in turns" in log.warnings[0] for log in parse_logs(HEADER + text + footer(0.9)))
    twice_the_same = "".join(line * 2 for line in one)
    again = HEADER + steps(0, 200, CURVE) + steps(100, 250, CURVE) + steps(200, 300, CURVE) + footer(0.9)
    for text in (WHOLE, HEADER + twice_the_same, again):
        assert parse_log(text).warnings == ()


@pytest.mark.parametrize("end", ["Minimum validation bpb: inf\n", ""])
def test_a_run_whose_evaluation_was_switched_off_is_not_evaluated(end):
    text = HEADER + steps(0, 300, {}) + "Peak memory usage: 8.40MiB\nTotal training time: 2.89m\n" + end
    log = parse_log(text)
    assert (log.status, log.min_val_bpb, log.val_curve, log.realised_steps) == ("not_evaluated", None, [], 300)
    assert parse_log(text.partition("Peak")[0]).status == "failed"
    assert parse_log(text + HEADER + steps(0, 10, {})).status == "failed"
    shape = {"run_id": "r", "backend": "b", "depth": 1, "max_seq_len": 2, "device_batch_size": 3, "warmdown_ratio": 0.5}
    with pytest.raises(ValueError, match="never evaluated"):
        run_result_from_log(log, **shape, seed=41)


@pytest.mark.parametrize("bpb", ["0.000000", "-0.900000", "1e400", ".5", "0.9x", "0,9", "", "٣.٥", "9" * 400])
def test_a_loss_that_can_not_be_one_is_never_ok(bpb):
    text = HEADER + steps(0, 200, CURVE) + validation(200, bpb) + steps(200, 300, {300: 0.9}) + footer(0.9)
    log = parse_log(text)
    assert log.status == "failed" and "step 200" in log.warnings[0]
    assert parse_log(HEADER + steps(0, 300, CURVE) + footer(bpb)).status == "failed"
    assert parse_log(text + HEADER + steps(100, 300, CURVE) + footer(0.9)).status == "ok"


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        ("", "the file is empty"),
        ("step:0/1845 val_loss:10.8289 train_time:0ms step_avg:0.03ms\n", "modded-nanogpt"),
        ("s:0 tel:10.968871\ns:0 trl:10.965596\n", r"main.log of llm.c"),
        ("val loss 11.0\nstep    1/19560 | loss 11.010303 (+nanz)| norm 15.5 |\n", r"output of llm.c"),
        ("number of parameters: 10.65M\nstep 0: train loss 4.2874, val loss 4.2823\n", "nanoGPT"),
        ("# nanochat training report\n\n- Minimum validation bpb: 0.8627\n", "nanochat's report"),
        ("{'loss': 3.1, 'learning_rate': 1e-4, 'epoch': 0.1}\n", "Hugging Face"),
        ('{"event": "step", "step": 1}\n', r"events\.jsonl lies train\.log"),
        ("max_chars: 2,000,000,000\ndoc_cap: 10,000\n", "tokenizer training"),
        ("PK\x03\x04" + "\x00" * 99, "a zip file, as torch.save writes checkpoints"),
        (bytes(range(256)) * 40, "binary file, such as a checkpoint"),
        ("hello\nworld\n", "some other text"),
    ],
)
def test_what_is_no_log_is_said_to_be_none_with_the_nearest_guess(tmp_path: Path, content, guess):
    path = tmp_path / "given_s41.log"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NoLogError, match=rf"given_s41\.log: no nanochat log: .*{guess}"):
        parse_logs(path)
    log = parse_log(path)
    assert (log.status, log.runs, log.warnings[0].startswith(str(path))) == ("failed", 0, True)


def test_packed_logs_are_read_whatever_their_name(tmp_path: Path):
    path = tmp_path / "train_s41.log"
    for packed in (gzip.compress(WHOLE.encode()), zstandard.compress(WHOLE.encode())):
        path.write_bytes(packed)
        log = parse_log(path)
        assert log.to_json_dict() == parse_log(WHOLE).to_json_dict() | {"path": str(path), "seed": 41}
        path.write_bytes(packed[: len(packed) * 3 // 4])
        assert parse_log(path).status == "failed"
        path.write_bytes(packed[:4] + b"\xff" * 40 + packed[44:])
        with pytest.raises(LogError, match=r"train_s41\.log: this log can't be read: its \w+ data is damaged"):
            parse_log(path)


def test_a_file_of_more_runs_than_a_file_has_is_refused():
    lines = "".join(train(1100 - horizon).replace("/00300", f"/{horizon:05d}") for horizon in range(1, 1100))
    with pytest.raises(LogError, match="more than 1,000 runs"):
        parse_log(lines)
