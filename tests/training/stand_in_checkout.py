"""A small checkout in nanochat's shape, which a test writes: its scripts, its tokenizer, and a torch of its own.

The training script prints the lines of docs/formats.md. Its loss is a function of the seed that the torch beside it was
given last, so that a test sees which seed won.
"""

import json
import sys
from pathlib import Path

from checkout_versions import CONFIGURATOR, VERSIONS, declarations

from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.records.corpus import TokenShards
from laneb.training.spec import RunSpec, lane_spec

SHARDS = TokenShards(
    timestamp_utc="", dataset_id="d", tokenizer_id="t", corpus_fingerprint="c", path="x", train_documents=1,
    train_tokens=1, train_bytes=1, val_documents=1, val_tokens=1, val_bytes=1, vocab_size=300, bos_id=299,
)  # fmt: skip
SHAPE = {"depth": 2, "max_seq_len": 64, "aspect_ratio": 32, "head_dim": 32}
BATCH = {"device": "cpu", "threads": 1, "device_batch_size": 2}
HARDWIRED = {"aspect_ratio": 64, "head_dim": 128}
"""The shape of versions that have no flags for it."""

TORCH = """
_seed = [0]

def manual_seed(seed):
    _seed[0] = seed
    cuda.manual_seed_all(seed)

def initial_seed():
    return _seed[0]

from torch import cuda, random
"""
CUDA = """
_seed = [0]

def manual_seed(seed):
    _seed[0] = seed

manual_seed_all = manual_seed
from torch.cuda import random
"""
COMMON = """
import os

def get_base_dir():
    path = os.environ.get("NANOCHAT_BASE_DIR") or os.path.join(os.path.dirname(os.path.dirname(__file__)), "base")
    os.makedirs(path, exist_ok=True)
    return path

def compute_init():
    import torch
    torch.manual_seed(42)
    torch.cuda.manual_seed(42)
"""
TOKENIZER = """
import os
from nanochat.common import get_base_dir

print("loading the tokenizer")  # as libraries do

class Tokenizer:
    def get_vocab_size(self):
        return 300

    def get_bos_token_id(self):
        return 299

    def encode(self, text, prepend=None, append=None, num_threads=8):
        if isinstance(text, list):
            return [self.encode(one) for one in text]
        if "forbidden" in text:
            raise RuntimeError("no such document")
        return list(text.encode("utf-8"))

def get_tokenizer():
    with open(os.path.join(get_base_dir(), "tokenizer", "tokenizer.pkl"), "rb") as file:
        file.read()
    return Tokenizer()

def get_token_bytes(device="cpu"):
    return [1] * 256 + [0] * 44
"""
TRAIN = """
@IMPORT@, json, math, os, sys, time
import torch
from nanochat.common import compute_init, get_base_dir
from nanochat.dataset import list_parquet_files

@FLAGS@
rank = int(os.environ.get("RANK", 0))
if rank:
    sys.stdout = open(os.devnull, "w")
behaviour = json.load(open(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "behaviour.json")))
compute_init()
seed = getattr(args, "seed", None)
seed = torch.initial_seed() if seed is None else seed
base = get_base_dir()
print("\\x1b[1m nanochat \\x1b[0m", flush=True)
threads = os.environ.get("OMP_NUM_THREADS")
print(f"flags: {json.dumps(vars(args))}")
print(f"world: {os.environ.get('WORLD_SIZE')}")
print(f"files: {json.dumps([os.path.basename(file) for file in list_parquet_files()])}")
print(f"argv: {json.dumps(sys.argv[1:])} base: {base} cuda: {torch.cuda._seed[0]} omp: {threads}")
tag = getattr(args, "model_tag", None) or f"d{args.depth}"
folder = os.path.join(base, "base_checkpoints", tag)
os.makedirs(folder, exist_ok=True)
begin = getattr(args, "resume_from_step", -1)
begin = 0 if begin == -1 else begin
if begin:
    print(f"Resuming optimization from step {begin}")
    if open(os.path.join(folder, f"model_{begin:06d}.pt")).read() != "weights":
        raise SystemExit("can't load the checkpoint")
batch = behaviour.get("batch", args.total_batch_size)
lm_head, matrices = behaviour.get("lm_head", 320 * 64), behaviour.get("matrices", 98_368)
tokens = behaviour.get("tokens", batch * args.num_iterations)
print(f"Vocab size: {behaviour.get('vocab', 300):,}")
if @OLD@:
    everything = behaviour.get("parameters", lm_head * 2 + matrices)
    print(f"num_layers: {args.depth}")
    print(f"Number of parameters: {everything:,}")
else:
    print("Parameter counts:")
    print(f"lm_head                 : {lm_head:,}")
    print(f"transformer_matrices    : {matrices:,}")
print(f"Using user-provided number of iterations: {args.num_iterations:,}")
print(f"Total number of training tokens: {tokens:,}")
if @OLD@:
    print(f"Tokens : Params ratio: {behaviour.get('ratio', tokens / everything):.2f}")
else:
    print(f"Tokens : Scaling params ratio: {behaviour.get('ratio', tokens / (lm_head + matrices)):.2f}")
print(f"Total batch size {batch:,} => gradient accumulation steps: 1")
total, lowest = 0.0, math.inf

def save(step):
    shared = () if rank else (f"model_{step:06d}.pt", f"meta_{step:06d}.json")
    for name in (*shared, f"optim_{step:06d}_rank{rank}.pt"):
        with open(os.path.join(folder, name), "w") as file:
            file.write("weights" if name.startswith("model") else "{}")

for step in range(begin, args.num_iterations + 1):
    last = step == args.num_iterations
    if last or step % args.eval_every == 0:
        bpb = 3.0 - step / 10 + seed / 1000
        lowest = min(lowest, bpb)
        print(f"Step {step:05d} | Validation bpb: {bpb:.6f}", flush=True)
    save_every = getattr(args, "save_every", -1)
    if last or (step > begin and save_every > 0 and step % save_every == 0):
        save(step)
    if last:
        break
    if behaviour.get("crash_at") == step and begin == 0:
        raise RuntimeError("CUDA out of memory")
    if behaviour.get("hang_at") == step:
        print("waiting", flush=True)
        time.sleep(600)
    loss = math.nan if behaviour.get("nan_at") == step else 5.0 - step / 10
    total += 0.6 if step > 10 else 0.0
    print(f"step {step:05d}/{args.num_iterations:05d} ({100 * step / args.num_iterations:.2f}%) | loss: {loss:.6f} | "
          f"lrm: 1.00 | dt: 600.00ms | tok/sec: 3,413 | bf16_mfu: 0.00 | epoch: 1 | total time: {total / 60:.2f}m",
          flush=True)
    if behaviour.get("nan_at") == step:
        time.sleep(600)
print("Peak memory usage: 812.40MiB")
print(f"Total training time: {total / 60:.2f}m")
if not behaviour.get("silent_end"):
    print(f"Minimum validation bpb: {lowest:.6f}")
"""
DATASET = """
import os
from nanochat.common import get_base_dir

DATA_DIR = os.path.join(get_base_dir(), "@DATA@")

def list_parquet_files(data_dir=None):
    folder = data_dir or DATA_DIR
    if not os.path.isdir(folder) and os.path.isdir(os.path.join(get_base_dir(), "base_data")):
        folder = os.path.join(get_base_dir(), "base_data")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".parquet")]
"""


def write_checkout(root: Path, *, version: str = "2026-02", without: tuple[str, ...] = (), stub_torch: bool = True,
                   more: dict[str, str] | None = None, shards: int = 3, **behaviour: object) -> Path:  # fmt: skip
    """Write a checkout of a date, whose training script lacks some flags, has more of them, and behaves as told."""
    made = VERSIONS[version]
    configurator = made.style == "configurator"
    script = TRAIN.replace("@IMPORT@", "import types" if configurator else "import argparse")
    script = script.replace("@FLAGS@", declarations(made, without, more)).replace(
        "argparse_like", "types.SimpleNamespace"
    )
    script = script.replace("@OLD@", str(made.style != "dashes"))
    files = {
        "scripts/__init__.py": "", "nanochat/__init__.py": "", "nanochat/common.py": COMMON,
        "nanochat/tokenizer.py": TOKENIZER, "scripts/base_train.py": script,
        "nanochat/dataset.py": DATASET.replace("@DATA@", made.data), "scripts/chat_web.py": "import nanochat.engine",
        "nanochat/engine.py": "", "behaviour.json": json.dumps(behaviour), "base/tokenizer/tokenizer.pkl": "merges",
        "base/base_checkpoints/d2/model_000005.pt": "someone else's", "base/laneb/mine": "",
    } | ({"nanochat/configurator.py": CONFIGURATOR} if configurator else {})  # fmt: skip
    if stub_torch:
        random = "from torch import manual_seed\n"
        files |= {"torch/__init__.py": TORCH, "torch/cuda/__init__.py": CUDA, "torch/random.py": random,
                  "torch/cuda/random.py": ""}  # fmt: skip
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for number in range(shards):
        write_shard(root / "base" / made.data, number)
    return root


def write_shard(folder: Path, number: int, documents: int = 40) -> Path:
    """Write a parquet file of nanochat's shape: a column of texts in groups of rows."""
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    words = ("the loss of a model falls with tokens", "and rises", "slowly", "then it falls again", "once more")
    texts = [
        ". ".join(words[(document * (number + 3) + word) % 5] for word in range(30)) for document in range(documents)
    ]
    path = folder / f"shard_{number:05d}.parquet"
    texts = [f"{text} {number} {document}" for document, text in enumerate(texts)]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=16, compression="zstd")
    return path


def knobs_on(checkout: Path, **knobs: object) -> tuple[ModelKnobs, TrainingKnobs]:
    """Knobs of which only the shape, what the machine takes, and `knobs` were set by somebody."""
    place = {"backend": "nanochat", "nanochat_dir": str(checkout), "nanochat_python": sys.executable}
    values = {**SHAPE, **BATCH, **place, **knobs}
    model, training = (
        section(**{name: value for name, value in values.items() if name in section.model_fields})
        for section in (ModelKnobs, TrainingKnobs)
    )
    return model, training


def run_on(checkout: Path, steps: int = 20, **knobs: object) -> RunSpec:
    return lane_spec(SHARDS, *knobs_on(checkout, **knobs), seed=41, steps=steps)


def behave(root: Path, **behaviour: object) -> None:
    """Make the next run of a checkout behave otherwise."""
    (root / "behaviour.json").write_text(json.dumps(behaviour))


def spec_of(checkout: Path, **more: object) -> RunSpec:
    values: dict[str, object] = {
        "backend": "nanochat", "depth": 2, "aspect_ratio": 32, "head_dim": 32, "n_kv_head": -1, "max_seq_len": 64,
        "window_pattern": "L", "vocab_size": 300, "corpus_fingerprint": "c", "tokenizer_id": "t", "seed": 41,
        "steps": 20, "device_batch_size": 2, "total_batch_size": 2048, "eval_every": 5, "eval_every_late": 5,
        "eval_tokens": 512, "embedding_lr": 0.3, "unembedding_lr": 0.004, "matrix_lr": 0.02, "scalar_lr": 0.5,
        "weight_decay": 0.2, "warmup_ratio": 0.0, "warmdown_ratio": 0.5, "final_lr_share": 0.0, "device": "cpu",
        "dtype": "float32", "compile": False, "threads": 3, "shards_path": "x", "checkpoint_every": 10,
        "nanochat_dir": str(checkout), "nanochat_python": sys.executable,
    }  # fmt: skip
    return RunSpec.model_validate(values | more)
