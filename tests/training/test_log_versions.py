"""A made log of each version of nanochat, line by line as that version prints it, and what is read from it."""

from dataclasses import dataclass

import pytest

from laneb.training.log import parse_log

COUNTS = """\
Parameter counts:
wte                     : 25,165,824
value_embeds            : 150,994,944
lm_head                 : 25,165,824
transformer_matrices    : 84,935,808
scalars                 : 24
total                   : 286,262,424
"""
BATCH = """\
Tokens / micro-batch / rank: 32 x 2048 = 65,536
Tokens / micro-batch: 524,288
Total batch size 524,288 => gradient accumulation steps: 1
"""
HORIZON = (
    "Calculated number of iterations from target data:param ratio: 40\nTotal number of training tokens: 20,971,520\n"
)
SCALING, PARAMS = "Tokens : Scaling params ratio: 0.19\n", "Tokens : Params ratio: 0.07\n"
FENCE = "!" * 80 + "\nWARNING: Flash Attention 3 not available\n" + "!" * 80 + "\n"
CONFIG = 'Model config:\n{\n  "sequence_len": 2048,\n  "n_layer": 12\n}\n'
SHAPE = "num_layers: 12\nmodel_dim: 768\nnum_heads: 6\nnum_kv_heads: 6\n"
OPTIMIZER = "Scaling the LR for the AdamW parameters ∝1/√(768/768) = 1.000000\n"
BANNER = "  █████ nanochat █████\nAutodetected device type: cuda\n"
LOGGER = "2026-02-10 10:11:12,345 - nanochat.common - \x1b[32m\x1b[1mINFO\x1b[0m - Distributed world size: 8\n"
SAMPLES = (
    "<|bos|>The capital of France is Paris.\n<|bos|>Step by step | Validation of\nstep 00001 of the recipe | loss\n"
)


@dataclass(frozen=True)
class Version:
    """What a version prints before its first step, how a step's line goes, and how many digits a bpb has."""

    header: str
    step: str
    bpb: str = "%.6f"
    n_scaling_params: int | None = 110_101_632
    requested_ratio: float | None = 0.19


OLD = "step {s:05d}/00040 ({p:.2f}%) | loss: {l:.6f} | lrm: 1.00 | dt: 350.00ms | tok/sec: 1,497,965 | mfu: 48.10"
NEW = OLD.replace("| mfu", "| bf16_mfu") + " | epoch: 1"
END = " | total time: {t:.2f}m"
ETA = END + "{eta}"
VERSIONS = {
    "2025-10-13": Version(
        BANNER + "Overriding: depth = 12\nVocab size: 65,536\n" + SHAPE + BATCH + "Number of parameters: 286,262,424\n"
        "Estimated FLOPs per token: 7.600000e+08\n" + HORIZON + PARAMS
        + "Total training FLOPs estimate: 1.600000e+16\nMuon: Grouping 24 params of shape torch.Size([768, 768])\n"
        + OPTIMIZER, OLD + END, "%.4f", None, None,
    ),
    "2025-11-05": Version(
        BANNER + "Vocab size: 65,536\n" + SHAPE + BATCH + "Number of parameters: 286,262,424\n" + HORIZON
        + PARAMS,
        OLD.replace("| lrm", "| grad norm: 0.3012 | lrm") + END, "%.4f", None, None,
    ),
    "2026-01-07": Version(
        BANNER + "Vocab size: 32,768\n" + SHAPE.replace("num_kv", "head_dim: 128\nnum_kv") + BATCH
        + "Scaling LRs by 0.7071 for batch size 262,144 (reference: 524,288)\n"
        "Number of parameters: 286,262,424 (scaling: 135,267,480)\n" + HORIZON + PARAMS,
        OLD + ETA, "%.4f", None, None,
    ),
    "2026-01-13": Version(
        BANNER + "Vocab size: 32,768\n" + SHAPE + BATCH
        + "Scaling weight decay from 0.200000 to 0.200000 for depth 12\n"
        "Number of parameters: 286,262,424 (scaling: 135,267,480)\n" + HORIZON + PARAMS
        + "AdamW: 1 param of shape torch.Size([32768, 768])\nMuon: 24 params of shape torch.Size([768, 768])\n",
        OLD + " | epoch: 1" + ETA, "%.6f", None, None,
    ),
    "2026-01-27": Version(
        BANNER + "GPU: NVIDIA H100 | Peak FLOPS (BF16): 9.89e+14\nVocab size: 32,768\n"
        + SHAPE.replace("768\n", "768 (base: 768, nudge: +0)\n")
        + BATCH + COUNTS.replace("scalars", "bigram_embed            : 7\nscalars")
        + HORIZON + SCALING, OLD + " | epoch: 1" + ETA,
    ),
    "2026-02-10": Version(
        BANNER + LOGGER + FENCE + "Vocab size: 32,768\n" + CONFIG + COUNTS + "Estimated FLOPs per token: 8.0e+08\n"
        "Auto-computed optimal batch size: 524,288 tokens\n" + OPTIMIZER + HORIZON + SCALING
        + "Total training FLOPs estimate: 1.600000e+16\n" + BATCH, NEW + ETA,
    ),
    "2026-07-03": Version(
        BANNER + LOGGER + "COMPUTE_DTYPE: torch.bfloat16 (auto)\nUsing Flash Attention 3: yes\nVocab size: 32,768\n"
        "Padding vocab_size from 32759 to 32768 for efficiency\n" + COUNTS.replace("84,935,808", "84,935,088")
        + HORIZON.replace("Calculated number of iterations from target data:param ratio",
                          "Calculated number of iterations from target FLOPs")
        + SCALING + BATCH, NEW + " pq: 1 rg: 3" + ETA, "%.6f", 110_100_912,
    ),
    "the fork": Version(
        BANNER + "Vocab size: 32,768\n" + COUNTS + "Applying WD multiplier 1.100\n"
        "Using user-provided number of iterations: 40\nTotal number of training tokens: 20,971,520\n"
        "Tokens : Scaling params ratio: 0.19\nTracking time-to-target using val_bpb with threshold 1.5\n"
        "Time-to-target extrapolation method: linear_recent_eval\n" + BATCH, NEW + ETA,
    ),
}  # fmt: skip


def printed(version: Version, *, evaluation: str = "Step {s:05d} | Validation bpb: {bpb}\n") -> str:
    """The whole log: 40 steps, an evaluation and a CORE metric every 20."""
    lines = [version.header]
    for step in range(41):
        if step % 20 == 0:
            lines.append(evaluation.format(s=step, bpb=version.bpb % (3.2 - step * 0.05)))
        if step == 20:
            lines.append("Evaluating: hellaswag (0-shot, type: multiple_choice)... accuracy: 0.3 | centered: 0.1\n")
            lines.append(f"Step {step:05d} | CORE metric: 0.1642\n" + SAMPLES)
        if step < 40:
            eta = " | eta: 0.1m" if step > 10 else ""
            values = {"s": step, "p": 2.5 * step, "l": 9.0 - step / 10, "t": max(0, step - 10) * 0.35 / 60, "eta": eta}
            lines.append(version.step.format(**values) + "\n")
    end = f"Peak memory usage: 48501.58MiB\nTotal training time: 0.17m\nMinimum validation bpb: {version.bpb % 1.2}\n"
    return "".join(lines) + end


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS.keys())
def test_the_lines_of_each_version_are_read(version):
    log = parse_log(printed(version))
    assert (log.status, log.runs, log.segments, log.warnings) == ("ok", 1, 1, ())
    assert log.val_curve == [[0, 3.2], [20, 2.2], [40, 1.2]] and log.min_val_bpb == 1.2
    assert (log.realised_steps, log.planned_steps, log.total_batch_size) == (40, 40, 524_288)
    assert (log.dt_median_ms, log.tok_per_sec_median, log.peak_mem_mib) == (350.0, 1_497_965.0, 48501.58)
    assert log.final_train_loss == pytest.approx(5.1) and log.total_training_time_sec == pytest.approx(10.2)
    assert log.val_points[1].seconds == pytest.approx(3.0)  # 0.05 minutes at step 19, two decimals
    assert (log.n_scaling_params, log.requested_ratio) == (version.n_scaling_params, version.requested_ratio)
    ratio = None if version.n_scaling_params is None else 40 * 524_288 / version.n_scaling_params
    assert log.realised_ratio == (None if ratio is None else pytest.approx(ratio))


def test_what_the_fork_says_of_its_threshold_is_read():
    text = printed(VERSIONS["the fork"])
    reached = text.replace("Minimum", "Time-to-target (val_bpb): 0.17m\nMinimum")
    assert parse_log(text).time_to_target.measured_step == 40
    assert parse_log(reached).time_to_target.measured_sec == pytest.approx(10.2)


def test_evaluations_of_the_experiments_branch_are_read():
    evaluation = "eval step={s} eflops=1.2e+16 val_bpb={bpb}\n"
    assert parse_log(printed(VERSIONS["2026-07-03"], evaluation=evaluation)).val_curve == [
        [0, 3.2],
        [20, 2.2],
        [40, 1.2],
    ]


@pytest.mark.parametrize("flag", ["", "--target-param-data-ratio=20\n", "Overriding: target_param_data_ratio = 20\n"])
def test_the_ratio_of_all_parameters_is_never_taken_for_that_of_the_scaling_parameters(flag):
    log = parse_log(flag + printed(VERSIONS["2025-10-13"]))
    assert (log.requested_ratio, log.realised_ratio) == (None, None)
