"""A finished run's weights as a checkpoint directory that nanochat's own loader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from laneb.records.runs import RunResult
from laneb.storage.atomic import write_text
from laneb.training import checkpoint
from laneb.training.run_directory import SPEC, WEIGHTS, read_result, read_spec
from laneb.training.spec import RunSpec


class ExportError(ValueError):
    """A run whose weights can't be exported, with what to do."""


def export_run(run_dir: Path, base_dir: Path, tag: str = "") -> Path:
    """Write a run's final weights to `base_dir/base_checkpoints/<tag>/model_<step>.pt` and `meta_<step>.json`.

    Args:
        run_dir: the run's directory; it trained with `LANE_B_KEEP_MODEL=1`.
        base_dir: as `NANOCHAT_BASE_DIR` names it; its tokenizer has to be the one that the run was trained with.
        tag: nanochat's model tag; empty: `d<depth>`, its own.

    Returns:
        The folder.

    Raises:
        ValueError: no such run, not finished, trained by a checkout, or its weights weren't kept; or a file can't be
            written.
    """
    spec = read_spec(run_dir / SPEC)
    result = read_result(run_dir, spec)
    if result is None:
        raise ExportError(f"{run_dir} has no result yet: let the run finish, then export it")
    if spec.backend == "nanochat":
        raise ExportError(
            f"{spec.run_id} was trained by a nanochat checkout, which wrote its own checkpoints below {run_dir}"
        )
    if not (run_dir / WEIGHTS).exists():
        raise ExportError(
            f"{spec.run_id} kept no weights. Train it again with LANE_B_KEEP_MODEL=1 (laneb run --force), and export "
            "it then"
        )
    weights = {
        name: _as_stored(name, tensor, spec) for name, tensor in checkpoint.load_weights(run_dir / WEIGHTS).items()
    }
    folder = base_dir / "base_checkpoints" / (tag or f"d{spec.depth}")
    checkpoint.save_weights(folder / f"model_{result.steps:06d}.pt", weights)
    write_text(folder / f"meta_{result.steps:06d}.json", json.dumps(_meta(spec, result), indent=2) + "\n")
    return folder


def _as_stored(name: str, tensor: torch.Tensor, spec: RunSpec) -> torch.Tensor:
    """nanochat keeps its tables in the number format that it computes in, and all else in float32."""
    table = name.startswith(("transformer.wte.", "value_embeds."))
    return tensor.to(getattr(torch, spec.dtype)) if table else tensor


def _meta(spec: RunSpec, result: RunResult) -> dict[str, Any]:
    shape = spec.shape
    return {
        "step": result.steps,
        "val_bpb": result.final_val_bpb,
        "model_config": {
            "sequence_len": shape.max_seq_len,
            "vocab_size": shape.vocab_size,
            "n_layer": shape.depth,
            "n_head": shape.n_head,
            "n_kv_head": shape.kv_heads,
            "n_embd": shape.model_dim,
            "window_pattern": shape.window_pattern.upper(),
        },
        "user_config": {
            "depth": shape.depth,
            "aspect_ratio": shape.aspect_ratio,
            "head_dim": shape.head_dim,
            "max_seq_len": shape.max_seq_len,
            "window_pattern": shape.window_pattern.upper(),
            "num_iterations": spec.steps,
            "device_batch_size": spec.device_batch_size,
            "total_batch_size": spec.total_batch_size,
            **spec.rates,
            "warmdown_ratio": spec.warmdown_ratio,
            "final_lr_frac": spec.final_lr_share,
            "seed": spec.seed,
            "lane_b_recipe": spec.recipe_name,
            "lane_b_fingerprint": spec.fingerprint,
        },
        "device_batch_size": spec.device_batch_size,
        "max_seq_len": shape.max_seq_len,
        "total_batch_size": spec.total_batch_size,
        "loop_state": {
            "min_val_bpb": result.min_val_bpb,
            "smooth_train_loss": result.final_train_loss,
            "total_training_time": result.total_training_time_sec,
        },
    }
