import json
import math
import random
from pathlib import Path

import pytest
from made_logs import CURVE, HEADER, WHOLE, footer, steps, train, validation
from upath import UPath

from laneb.training.log import LogError, parse_log, run_result_from_log


def test_a_finished_run_is_read_whole():
    log = parse_log(WHOLE)
    assert (log.status, log.complete, log.segments) == ("ok", True, 1)
    assert (log.total_batch_size, log.n_scaling_params, log.planned_steps) == (16384, 110_101_632, 300)
    assert log.realised_steps == 300
    assert log.realised_ratio == pytest.approx(300 * 16384 / 110_101_632)
    assert log.requested_ratio == 0.04
    assert log.val_curve == [[0, 3.2], [100, 1.2], [200, 1.0], [300, 0.9]]
    assert (log.min_val_bpb, log.final_val_bpb) == (0.9, 0.9)
    assert (log.tok_per_sec_median, log.dt_median_ms) == (27306.0, 600.0)
    assert (log.total_training_time_sec, log.peak_mem_mib) == (pytest.approx(173.4), 1812.4)
    assert log.final_train_loss == 3.5


def test_the_json_holds_every_key_that_people_read():
    printed = json.loads(json.dumps(parse_log(WHOLE).to_json_dict(), allow_nan=False))
    assert printed.keys() >= {
        "path", "seed", "status", "complete", "total_batch_size", "n_scaling_params", "requested_ratio",
        "realised_ratio", "realised_steps", "min_val_bpb", "final_val_bpb", "time_to_target_sec_measured",
        "time_to_target_sec_interpolated", "time_to_target_sec_extrapolated", "extrapolation_method",
        "tok_per_sec_median", "dt_median_ms", "total_training_time_sec", "peak_mem_mib", "val_curve",
    }  # fmt: skip
    assert printed["val_curve"] == [[0, 3.2], [100, 1.2], [200, 1.0], [300, 0.9]]


def test_an_evaluation_has_the_time_of_the_update_before_it():
    times = {point.step: point.seconds for point in parse_log(WHOLE).val_points}
    assert times == {0: 0.0, 100: pytest.approx(89 * 0.6), 200: pytest.approx(189 * 0.6), 300: pytest.approx(289 * 0.6)}


def test_an_evaluation_between_two_printed_updates_gets_a_time_between_theirs():
    text = HEADER + train(20, total=0.10) + validation(30, 2.0) + train(40, total=0.30) + validation(50, 1.9)
    seconds = [point.seconds for point in parse_log(text + "Total training time: 0.40m\n").val_points]
    assert seconds == [pytest.approx(6 + 9 / 20 * 12), pytest.approx(24.0)]


def test_the_crossing_that_the_run_tracked_is_found_in_its_curve():
    target = parse_log(WHOLE).time_to_target
    assert (target.measured_step, target.measured_sec) == (300, pytest.approx(173.4))
    assert target.interpolated_step == pytest.approx(270.0)


def test_a_given_threshold_is_found_in_the_curve_whatever_the_run_tracked():
    log = parse_log(WHOLE + "Time-to-target (val_bpb): 2.41m\n", threshold=1.1)
    assert log.target_threshold == 1.1
    assert log.time_to_target.measured_step == 200
    assert log.time_to_target.measured_sec == pytest.approx(113.4)
    assert log.to_json_dict()["time_to_target_sec_interpolated"] == pytest.approx((53.4 + 113.4) / 2)


def test_what_the_run_printed_about_its_own_target_is_taken_over():
    reached = HEADER + steps(0, 300, CURVE) + "Time-to-target reached via val_bpb at step 00300: 2.41m\n" + footer(0.9)
    assert parse_log(reached).time_to_target.measured_sec == pytest.approx(144.6)
    missed = HEADER + steps(0, 300, CURVE | {300: 0.95})
    text = missed + "Extrapolated time-to-target (val_bpb, power_law_recent_eval): 3.55m\n" + footer(0.95)
    printed = parse_log(text).to_json_dict()
    assert printed["time_to_target_sec_measured"] is None
    assert printed["time_to_target_sec_extrapolated"] == pytest.approx(213.0)
    assert printed["extrapolation_method"] == "power_law_recent_eval"
    text = missed + "Extrapolated time-to-target unavailable (insufficient_points)\n" + footer(0.95)
    printed = parse_log(text).to_json_dict()
    assert printed["time_to_target_sec_extrapolated"] is None and printed["extrapolation_method"] is None
    assert printed["extrapolation_reason"] == "insufficient_points"


def test_a_log_that_tracked_nothing_has_no_time_to_target():
    text = WHOLE.replace("Tracking", "Watching")
    assert parse_log(text).time_to_target is None
    assert parse_log(text, threshold=1.1).time_to_target.measured_step == 200


def test_without_a_word_about_time_no_time_to_target_is_made_up():
    text = "".join(line for line in WHOLE.splitlines(True) if line.startswith(("Step", "Minimum", "Tracking")))
    log = parse_log(text)
    assert (log.status, log.time_to_target.measured_sec, log.total_training_time_sec) == ("ok", None, None)
    with pytest.raises(ValueError, match="threshold inf"):
        parse_log(WHOLE, threshold=math.inf)


def test_a_run_that_did_not_end_has_failed():
    log = parse_log(HEADER + steps(0, 150, CURVE))
    assert (log.status, log.complete, log.realised_steps) == ("failed", False, 150)
    assert log.realised_ratio == pytest.approx(150 * 16384 / 110_101_632)
    assert log.total_training_time_sec == pytest.approx(139 * 0.6)


@pytest.mark.parametrize("text", ["", "\n", b"", b"\xff\xfe\x00\x80 no log\n", "hello\nworld\n", HEADER, footer(0.9)])
def test_what_is_no_log_is_a_failed_run(text):
    log = parse_log(text)
    assert (log.status, log.complete, log.val_curve) == ("failed", False, [])


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "inf"])
def test_a_loss_that_is_no_number_makes_the_run_failed_nan(word):
    in_loss = HEADER + steps(0, 150, CURVE) + train(150, loss=word) + footer(1.0)
    in_bpb = HEADER + steps(0, 150, CURVE) + validation(150, word) + footer(1.0)
    in_minimum = HEADER + steps(0, 300, CURVE) + footer(word)
    for text in (in_loss, in_bpb, in_minimum):
        log = parse_log(text)
        assert log.status == "failed_nan"
        assert all(math.isfinite(bpb) for _, bpb in log.val_curve)
    assert parse_log(in_loss).final_train_loss == 3.5


def test_a_restart_from_step_0_replaces_what_came_before():
    first = HEADER + steps(0, 250, {0: 3.3, 100: 0.5, 200: 0.4}) + train(250, loss="nan")
    log = parse_log(first + WHOLE)
    assert log.segments == 2 and (log.status, log.total_batch_size, log.min_val_bpb) == ("ok", 16384, 0.9)
    assert log.runs == 1 and log.warnings == ()
    assert log.val_curve == parse_log(WHOLE).val_curve


def test_a_resume_keeps_the_points_below_its_first_step_and_none_twice():
    killed = HEADER + steps(0, 250, {0: 3.2, 100: 1.2, 150: 1.1, 200: 1.01, 240: 0.99})
    resumed = HEADER + "Resuming optimization from step 200\n" + steps(200, 300, {200: 1.0, 300: 0.9}) + footer(0.9)
    log = parse_log(killed + resumed)
    assert log.val_curve == [[0, 3.2], [100, 1.2], [150, 1.1], [200, 1.0], [300, 0.9]]
    assert (log.status, log.segments, log.realised_steps) == ("ok", 2, 300)
    assert [point.seconds for point in log.val_points][-2:] == [pytest.approx(113.4), pytest.approx(173.4)]


def test_a_resume_without_any_header_is_seen_by_its_smaller_step():
    log = parse_log(HEADER + steps(0, 250, {0: 3.2, 200: 1.01, 240: 0.99}) + steps(200, 300, {300: 0.9}) + footer(0.9))
    assert log.val_curve == [[0, 3.2], [300, 0.9]]
    assert (log.total_batch_size, log.status) == (16384, "ok")


def test_a_log_spliced_at_a_checkpoint_keeps_the_evaluation_made_there():
    before = HEADER + steps(0, 200, CURVE)
    text = before + "Resuming optimization from step 200\n" + steps(200, 300, {300: 0.9}) + footer(0.9)
    log = parse_log(text)
    assert log.val_points == parse_log(WHOLE).val_points and log.status == "ok"
    again = before + train(200, loss="nan") + "Resuming optimization from step 200\n" + steps(200, 300, {300: 0.9})
    assert parse_log(again + footer(0.9)).status == "ok"
    assert parse_log(before + train(200, loss="nan") + steps(201, 300, {300: 0.9}) + footer(0.9)).status == "failed_nan"


def test_a_nan_that_a_resume_went_back_behind_does_not_count_and_one_before_it_does():
    resumed = steps(200, 300, {300: 0.9}) + footer(0.9)
    behind = HEADER + steps(0, 240, CURVE) + train(240, loss="nan")
    assert parse_log(behind + resumed).status == "ok"
    before = HEADER + steps(0, 150, CURVE) + train(150, loss="nan") + steps(151, 240, CURVE)
    assert parse_log(before + resumed).status == "failed_nan"


def test_a_target_reached_in_a_stretch_that_was_trained_again_is_forgotten():
    first = HEADER + steps(0, 250, {0: 3.2}) + "Time-to-target reached via val_bpb at step 00240: 1.50m\n"
    log = parse_log(first + steps(200, 300, {0: 3.2, 250: 0.95, 300: 0.92}) + footer(0.92))
    assert log.time_to_target.measured_step == 300


@pytest.mark.parametrize("again", [
    steps(0, 20, {0: 3.2}), steps(200, 210, {}), "Resuming optimization from step 300\n", HEADER,
    "Resuming optimization from step 300\n" + validation(300, 0.9),
])  # fmt: skip
def test_a_run_that_was_started_again_after_it_ended_is_complete_only_when_it_ended_again(again):
    log = parse_log(WHOLE + again)
    assert (log.status, log.complete) == ("failed", False)
    assert parse_log(WHOLE + again + steps(299, 300, {300: 0.9}) + footer(0.9)).status == "ok"


def test_a_longer_horizon_after_the_end_continues_the_curve():
    more = "Resuming optimization from step 300\n" + steps(300, 400, {300: 0.9, 400: 0.8})
    log = parse_log(WHOLE + more)
    assert log.status == "failed" and log.val_curve[-2:] == [[300, 0.9], [400, 0.8]]


def test_headers_belong_to_the_segment_that_follows_them():
    seed = "seed: 41\n"
    text = seed + HEADER + steps(0, 50, {0: 3.2}) + "seed: 42\n" + WHOLE.replace("16,384", "8,192")
    log = parse_log(text)
    assert (log.seed, log.total_batch_size) == (42, 8192)
    assert parse_log(seed + WHOLE + "seed: 43\n").printed_seed == 41


@pytest.mark.parametrize(
    "line", ["seed: 41", "Seed = 41", "Overriding: seed = 41", "python -m x --seed 41 --depth=2", "--seed=41"]
)
def test_a_printed_seed_is_found(line):
    log = parse_log(line + "\n" + WHOLE)
    assert (log.seed, log.printed_seed, log.status) == (41, 41, "ok")


def test_the_seed_in_the_file_name_wins_and_the_printed_one_stays_visible(tmp_path: Path):
    for name, seed in {
        "baseline_d12_s41_train.log": 41, "laneb_calib_750_s7.log": 7, "laneb_inferred_s42.log": 42,
        "laneb_calib_750.log": 5, "x_s3x.log": 5,
    }.items():  # fmt: skip
        (tmp_path / name).write_text("seed: 5\n" + WHOLE)
        log = parse_log(tmp_path / name)
        assert (log.seed, log.printed_seed, log.path) == (seed, 5, str(tmp_path / name))


def test_the_asked_ratio_is_read_from_flags_and_minus_1_is_none():
    assert parse_log("--target-param-data-ratio=10.5\n" + WHOLE).requested_ratio == 10.5
    assert parse_log("Overriding: target_param_data_ratio = 20\n" + WHOLE).requested_ratio == 20
    assert parse_log("--target-param-data-ratio=-1\n" + WHOLE).requested_ratio == 0.04


def test_missing_counts_are_made_up_for_from_what_is_printed():
    text = "".join(line for line in WHOLE.splitlines(True) if not line.startswith(("transformer", "Total batch")))
    log = parse_log(text)
    assert (log.n_scaling_params, log.total_batch_size) == (None, 16384)
    assert log.realised_ratio == pytest.approx(0.04)


def test_the_fields_of_older_and_other_versions_are_read():
    text = (
        "Tokens : Params ratio: 20.00\nstep 00011/00020 (1.00%) | loss: 2.5 | grad norm: 0.3 | lrm: 1.0 | "
        "dt: 1,200.50ms | tok/sec: 9 | mfu: 1.2 | total time: 0.02m\nStep 00012 | Validation bpb: 1.2345\n"
        "step 00012/00020 (3.00%) | loss: 2.25\nMinimum validation bpb: 1.2345\n"
    )
    log = parse_log(text)
    assert (log.status, log.dt_median_ms, log.final_train_loss) == ("ok", 1200.5, 2.25)
    assert (log.realised_steps, log.planned_steps, log.bpb_decimals) == (13, 20, 4)


@pytest.mark.parametrize("missing", ["nowhere.log", "a\0b.log", "."])
def test_a_file_that_can_not_be_read_is_one_error(tmp_path: Path, missing):
    with pytest.raises(LogError, match=r"can't be read"):
        parse_log(str(tmp_path / missing))


def test_a_log_in_a_bucket_is_read_as_one_in_a_folder():
    path = UPath("memory://logs/laneb_inferred_s42.log")
    path.write_text(WHOLE)
    assert (parse_log(path).seed, parse_log(path).status) == (42, "ok")


def test_the_result_of_a_run_is_made_from_its_log(tmp_path: Path):
    path = tmp_path / "baseline_d12_s41_train.log"
    path.write_text(WHOLE)
    more = {"run_id": "b", "backend": "nanochat", "depth": 12, "max_seq_len": 2048}
    result = run_result_from_log(parse_log(path), **more, device_batch_size=8, warmdown_ratio=0.5, git_commit="abc")
    assert (result.seed, result.steps, result.tokens, result.status) == (41, 300, 4_915_200, "ok")
    assert result.min_val_bpb == result.final_val_bpb == 0.9
    assert (result.git_commit, result.log_path) == ("abc", str(path))
    again = run_result_from_log(parse_log(path), **more, device_batch_size=8, warmdown_ratio=0.5, git_commit="def")
    assert again.fingerprint == result.fingerprint
    other = run_result_from_log(parse_log(path), **more, device_batch_size=8, warmdown_ratio=0.4)
    assert other.fingerprint != result.fingerprint
    with pytest.raises(ValueError, match="seed, n_scaling_params"):
        text = WHOLE.replace("transformer", "t")
        run_result_from_log(parse_log(text), **more, device_batch_size=8, warmdown_ratio=0.5)


def test_memory_does_not_grow_with_the_length_of_a_log(tmp_path: Path):
    import tracemalloc

    generator = random.Random(0)
    path = tmp_path / "long.log"
    with path.open("w") as file:
        for step in range(60_000):
            file.write(
                train(step, loss=f"{generator.random():.6f}", total=step / 100, dt=generator.gauss(120, 2)).replace(
                    "/00300", "/60000"
                )
            )
    tracemalloc.start()
    log = parse_log(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert log.realised_steps == 60_000 and log.dt_median_ms == pytest.approx(120, abs=0.2)
    assert path.stat().st_size > 8_000_000 and peak < 5 * 2**20


def test_a_log_of_our_own_is_read_back():
    from laneb.training import log_lines
    from laneb.training.spec import RunSpec

    spec = RunSpec(
        depth=2, aspect_ratio=64, head_dim=32, n_kv_head=-1, max_seq_len=128, window_pattern="L", vocab_size=2048,
        corpus_fingerprint="c", tokenizer_id="t", seed=41, steps=300, device_batch_size=16, total_batch_size=2048,
        eval_every=100, eval_every_late=25, eval_tokens=32768, embedding_lr=0.3, unembedding_lr=0.004, matrix_lr=0.02,
        scalar_lr=0.5, weight_decay=0.2, warmup_ratio=0.0, warmdown_ratio=0.5, final_lr_share=0.0, device="cpu",
        dtype="float32", compile=False, threads=1, shards_path="x", checkpoint_every=250,
    )  # fmt: skip
    update = log_lines.training_step(
        step=299, steps=300, loss=2.5, learning_rate=0.01, milliseconds=50.25, tokens_per_second=40756.2,
        mfu_percent=0.0, epoch=1, minutes=0.25, minutes_left=None,
    )  # fmt: skip
    lines = [
        *log_lines.header(spec, 2048 * 128), log_lines.validation(0, 3.25), update, log_lines.validation(300, 2.0),
        *log_lines.footer(peak_memory_mib=512.0, minutes=0.25, minimum_bpb=2.0),
    ]  # fmt: skip
    log = parse_log("\n".join(lines))
    assert (log.status, log.n_scaling_params, log.total_batch_size) == ("ok", spec.n_scaling_params, 2048)
    assert (log.realised_steps, log.realised_ratio) == (300, pytest.approx(spec.realised_ratio))
    assert log.val_points == ((0, 0.0, 3.25), (300, 15.0, 2.0))
    assert (log.dt_median_ms, log.tok_per_sec_median, log.peak_mem_mib) == (50.25, 40756.0, 512.0)
