"""Speed and memory of a training step against a plain eager float32 loop of the same model, in one run.

The plain way is what the model's formulas say, in torch's own functions: float32, all logits at once, torch's AdamW and
Muon, the C library's allocator as it comes. The compiled way is the same under torch.compile, as nanochat trains on a
CPU. All ways start from the same weights and batches; each run is a process of its own, in turns, so that peak memory
is its own and a busy machine slows all. The losses after the last step stand side by side.

    python benchmarks/training.py [--vocab-size 32768] [--depth 4] [--context 256] [--rows 16] [--steps 6] [--turns 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from laneb.model.scaling import ModelShape, count_parameters, flops_per_token
from laneb.training import hardware
from laneb.training.spec import choose_compile, choose_dtype

if TYPE_CHECKING:
    from torch import Tensor

    from laneb.model.gpt import GPT

WAYS = ("plain", "compiled", "laneb")
RATES = {"embedding_lr": 3.0, "unembedding_lr": 0.04, "matrix_lr": 0.2, "scalar_lr": 0.5, "weight_decay": 0.2}
UNTIMED_STEPS = 2


def plain_loss(model: GPT, rows: Tensor) -> Tensor:
    """The mean loss, term by term: float32, everything kept."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - its customary name

    def norm(x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.size(-1),))

    def rotate(x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * model.cos + b * model.sin, b * model.cos - a * model.sin), dim=-1)

    shape, tokens, targets = model.shape, rows[:, :-1], rows[:, 1:]
    count, length = tokens.shape
    x = embedded = norm(model.token_embedding(tokens))
    for layer, block in enumerate(model.blocks):
        x = model.residual_scales[layer] * x + model.embedding_scales[layer] * embedded
        attention: Any = block.attention
        mlp: Any = block.mlp
        y = norm(x)
        q = attention.query(y).view(count, length, shape.n_head, shape.head_dim)
        k = attention.key(y).view(count, length, shape.kv_heads, shape.head_dim)
        v = attention.value(y).view(count, length, shape.kv_heads, shape.head_dim)
        if layer in shape.value_embedding_layers:
            gate = 2 * torch.sigmoid(attention.value_gate(y[..., :32]))
            v = v + gate.unsqueeze(-1) * model.value_embeddings[str(layer)](tokens).view_as(v)
        q, k = norm(rotate(q)).transpose(1, 2), norm(rotate(k)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True)
        x = x + attention.output(attended.transpose(1, 2).reshape(count, length, -1))
        x = x + mlp.contract(F.relu(mlp.expand(norm(x))).square())
    logits = 15 * torch.tanh(model.head(norm(x)) / 15)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def plain_step(model: GPT, total_batch_size: int, *, compiled: bool) -> Callable[[Tensor], Tensor]:
    """An update with torch's own optimizers."""
    import torch

    from laneb.model.optimizer import ADAM_EPSILON, Optimizers

    rates = Optimizers(model, total_batch_size=total_batch_size, rates=RATES)
    groups = [{"params": adam.params, "lr": adam.rate, "betas": adam.betas} for adam in rates.adams]
    adam = torch.optim.AdamW(groups, eps=ADAM_EPSILON, weight_decay=0.0)
    muon = torch.optim.Muon(list(model.blocks.parameters()), lr=rates.muons[0].rate, momentum=0.95, weight_decay=0.2)
    mean_loss = torch.compile(plain_loss) if compiled else plain_loss

    def step(rows: Tensor) -> Tensor:
        loss: Tensor = mean_loss(model, rows)
        loss.backward()
        adam.step()
        muon.step()
        adam.zero_grad()
        muon.zero_grad()
        return loss

    return step


def our_step(model: GPT, total_batch_size: int) -> Callable[[Tensor], Tensor]:
    """An update as a run makes it."""
    from laneb.model.optimizer import Optimizers

    optimizers = Optimizers(model, total_batch_size=total_batch_size, rates=RATES)

    def step(rows: Tensor) -> Tensor:
        loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        optimizers.step(learning_rate=1.0, momentum=0.95, weight_decay=1.0)
        optimizers.zero_grad()
        return loss

    return step


def child(way: str, shape: ModelShape, rows: int, steps: int, threads: int) -> None:
    """Train a few steps; prints JSON."""
    import torch

    from laneb.model.gpt import GPT
    from laneb.training.devices import keep_freed_memory

    torch.set_num_threads(threads)
    dtype = torch.float32
    if way == "laneb":
        keep_freed_memory()
        dtype = getattr(torch, choose_dtype(shape, "cpu"))
    model = GPT(shape, dtype)
    model.initialise(1)
    if way == "laneb" and choose_compile(shape, "cpu", rows):
        model.compile_parts()
    tokens = rows * shape.max_seq_len
    step = our_step(model, tokens) if way == "laneb" else plain_step(model, tokens, compiled=way == "compiled")
    source = torch.Generator().manual_seed(1)
    # Tokens as uneven as text's, so that there is something to learn.
    size = (rows, shape.max_seq_len + 1)
    batches = [
        (torch.rand(size, generator=source) ** 4 * shape.vocab_size).long() for _ in range(UNTIMED_STEPS + steps)
    ]
    seconds = []
    loss = torch.zeros(())
    for batch in batches:
        start = time.perf_counter()
        loss = step(batch)
        seconds.append(time.perf_counter() - start)
    timed = seconds[UNTIMED_STEPS:]
    peak = hardware.peak_resident_mib()
    print(json.dumps({"seconds": statistics.median(timed), "fastest": min(timed), "peak": peak, "loss": loss.item()}))


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one way in a fresh process."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in vars(arguments).items() if name != "child"]
    command = [sys.executable, __file__, f"--child={way}", *options]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return measured


def compare(arguments: argparse.Namespace, shape: ModelShape) -> None:
    """All ways in turns."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.turns):
        for way in WAYS:
            results[way].append(measure(way, arguments))
    tokens = arguments.rows * shape.max_seq_len
    flops = flops_per_token(shape)
    print(f"{'way':<8}{'tokens/s':>10}{'GFLOP/s':>10}{'ms/step':>10}{'peak MiB':>10}{'last loss':>12}")
    speeds = {}
    for way, rows in results.items():
        speeds[way] = tokens / min(row["seconds"] for row in rows)
        peak = max(row["peak"] for row in rows)
        print(
            f"{way:<8}{speeds[way]:>10,.0f}{speeds[way] * flops / 1e9:>10,.0f}{1000 * tokens / speeds[way]:>10,.0f}"
            f"{peak:>10,.0f}{rows[0]['loss']:>12.4f}"
        )
    print(", ".join(f"laneb / {way}: {speeds['laneb'] / speeds[way]:.2f}x" for way in WAYS if way != "laneb"))


def main() -> None:
    """Compare the ways on one shape; by default that of a small nanochat run on a CPU."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--aspect-ratio", type=int, default=64)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--vocab-size", type=int, default=32768)
    parser.add_argument("--rows", type=int, default=16, help="rows per step")
    parser.add_argument("--steps", type=int, default=6, help="steps timed")
    parser.add_argument("--turns", type=int, default=2, help="processes per way")
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = ModelShape(
        recipe="laneb",
        depth=arguments.depth,
        aspect_ratio=arguments.aspect_ratio,
        head_dim=arguments.head_dim,
        max_seq_len=arguments.context,
        vocab_size=arguments.vocab_size,
    )
    if arguments.child:
        child(arguments.child, shape, arguments.rows, arguments.steps, arguments.threads)
        return
    counts = count_parameters(shape)
    print(
        f"depth {shape.depth}, width {shape.model_dim}, context {shape.max_seq_len}, vocabulary {shape.vocab_size:,}, "
        f"{arguments.rows} rows a step, {counts.param_counts.total:,} parameters, {arguments.threads} threads; "
        f"laneb computes in {choose_dtype(shape, 'cpu')}"
    )
    compare(arguments, shape)


if __name__ == "__main__":
    main()
