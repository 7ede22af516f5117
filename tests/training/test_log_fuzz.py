"""Random logs: no error but the declared one, and never `ok` for a run that did not end or had a NaN."""

import io
import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laneb.training.log import LogError, parse_log
from laneb.training.logs.reader import LogReader

STATUSES = {"ok", "failed", "failed_nan", "not_evaluated"}
numbers = st.sampled_from(["1.5", "0.912345", "3", "nan", "inf", "-inf", "1e400", "9" * 400, "", "1,2,3", ".", "1.2.3"])
counts = st.sampled_from(["0", "1", "10", "1,500", "99999999999999999999999", "-1", "", "x"])
templates = st.sampled_from([
    "lm_head                 : {c}", "transformer_matrices    : {c}", "Calculated number of iterations from x: {c}",
    "Using user-provided number of iterations: {c}", "Total number of training tokens: {c}",
    "Tokens : Scaling params ratio: {n}", "Tracking time-to-target using val_bpb with threshold {n}",
    "Tracking time-to-target using core with threshold {n}", "Total batch size {c} => gradient accumulation steps: {c}",
    "Resuming optimization from step {c}", "Step {c} | Validation bpb: {n}", "Step {c} | CORE metric: {n}",
    "step {c}/{c} (6.67%) | loss: {n} | lrm: 1.00 | dt: {n}ms | tok/sec: {c} | epoch: 1 | total time: {n}m | eta: 2m",
    "step {c} (6.67%) | loss: {n} | dt: {n}ms", "Time-to-target reached via val_bpb at step {c}: {n}m",
    "Peak memory usage: {n}MiB", "Total training time: {n}m", "Time-to-target (val_bpb): {n}m",
    "Extrapolated time-to-target (val_bpb, linear_recent_eval): {n}m", "Minimum validation bpb: {n}",
    "Extrapolated time-to-target unavailable (x)", "seed: {c}", "--seed {c} --target-param-data-ratio={n}",
    "\x1b[31mStep {c}\x1b[0m | Validation bpb: {n}", "[rank0]: step {c}/{c} | loss: {n} |", "\r", "█ {n} {c}",
])  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> str:
    text = draw(templates)
    while "{c}" in text:
        text = text.replace("{c}", draw(counts), 1)
    while "{n}" in text:
        text = text.replace("{n}", draw(numbers), 1)
    return text


line_ends = st.sampled_from(["\n", "\r\n", "\r", ""])
documents = st.lists(st.tuples(lines(), line_ends), max_size=14).map(lambda parts: "".join(a + b for a, b in parts))
fast = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fast
@given(documents | st.text(max_size=60), st.none() | st.floats(0.1, 5.0))
def test_no_text_makes_the_parser_fail(text, threshold):
    log = parse_log(text.encode("utf-8", "surrogatepass"), threshold)
    assert log.status in STATUSES
    if log.status == "ok":
        assert log.complete and log.min_val_bpb is not None and math.isfinite(log.min_val_bpb)
    assert log.complete or log.status != "ok"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=60))
def test_bytes_and_paths_raise_nothing_but_a_log_error(source):
    try:
        assert parse_log(source).status in STATUSES
    except LogError:
        assert isinstance(source, str)


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, bool, bool]:
    """A log of several starts: its text, whether the last one ended, and whether a NaN still counts."""
    text, done, nan_at = "", 0, None
    starts = draw(st.integers(1, 4))
    for number in range(starts):
        first = 0 if number == 0 or draw(st.booleans()) else draw(st.integers(0, done))
        nan_at = nan_at if nan_at is not None and first > 0 and nan_at < first else None
        last = draw(st.integers(first, 8))
        text += draw(st.sampled_from(["Total batch size 64 => gradient accumulation steps: 1\n", "import x\n"]))
        text += f"Resuming optimization from step {first}\n" if first else "Tokens : Scaling params ratio: 1.00\n"
        for step in range(first, last + 1):
            is_nan = draw(st.integers(0, 30)) == 0
            nan_at = step if is_nan and nan_at is None else nan_at
            text += f"Step {step:05d} | Validation bpb: {'nan' if is_nan else f'{2 - step / 10:.6f}'}\n"
            text += f"step {step:05d}/00008 (1.00%) | loss: 1.0 | dt: 1.00ms | tok/sec: 1 | total time: 0.01m\n"
            text += draw(st.sampled_from(["", "noise\n", "\x1b[0m\n"]))
        done = last
        ended = draw(st.booleans())
        text += "Minimum validation bpb: 1.200000\n" if ended else ""
    return text, ended, nan_at is not None


@fast
@given(stories())
def test_the_status_of_any_series_of_starts_is_that_of_what_counts(story):
    text, ended, nan = story
    expected = "failed_nan" if nan else "ok" if ended else "failed"
    assert parse_log(text).status == expected


@settings(max_examples=300, deadline=None)
@given(stories())
def test_lines_taken_in_one_by_one_say_what_the_whole_says(story):
    text, _, _ = story
    whole, single = LogReader(), LogReader()
    whole.read(io.BytesIO(text.encode()))
    for line in text.splitlines():
        single.take(line.encode())
    single.finish()
    assert whole.run == single.run
    assert (whole.complete, whole.segments) == (single.complete, single.segments)


@settings(max_examples=300, deadline=None)
@given(stories(), st.data())
def test_a_log_cut_within_its_last_start_is_never_ok(story, data):
    text, _, _ = story
    begin = max(text.rfind("Resuming"), text.rfind("Tokens :")) + len("Resuming optimization from step 0")
    size = data.draw(st.integers(begin, len(text) - 2))
    assert parse_log(text[:size].encode()).status != "ok"
