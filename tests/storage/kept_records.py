"""Records as tests keep them."""

from pathlib import Path

from laneb.records.corpus import TokenizerInfo
from laneb.records.runs import RunResult


def tokenizer(folder: Path) -> TokenizerInfo:
    return TokenizerInfo(
        timestamp_utc="2026-01-01T00:00:00Z", dataset_id="d", tokenizer_id="t", vocab_size=300, bos_id=0,
        path=str(folder), trained_bytes=1, bytes_per_token=2.5,
    )  # fmt: skip


def run_result(log: Path | str) -> RunResult:
    return RunResult.model_validate(
        {
            "timestamp_utc": "2026-01-02T03:04:05Z", "run_id": "d2_i100_s41", "fingerprint": "f", "backend": "builtin",
            "seed": 41, "depth": 2, "max_seq_len": 128, "device_batch_size": 16, "total_batch_size": 2048,
            "n_scaling_params": 100_000, "steps": 100, "warmdown_ratio": 0.5, "status": "ok",
            "val_curve": ((0, 0.0, 3.5), (100, 12.5, 2.25)), "final_train_loss": 4.5, "tok_per_sec_median": 15000.5,
            "dt_median_ms": 136.5, "total_training_time_sec": 12.5, "wall_time_sec": 20.25, "peak_mem_mib": 512.0,
            "device": "cpu", "git_commit": "abc1234", "log_path": str(log),
        }
    )  # fmt: skip
