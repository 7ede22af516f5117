"""Both recipes of nanochat, written term by term from their equations: slow, float32, one matrix at a time.

Nothing of the product is used here. Weights are a dictionary of tensors under nanochat's names; gradients come from
autograd; every loop is a plain one.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

EPSILON = 1.1920928955078125e-07
POLAR = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]


@dataclass(frozen=True)
class Sizes:
    """A model: July's, or February's."""

    july: bool
    depth: int
    width: int
    head_dim: int
    context: int
    vocabulary: int
    pattern: str = "L"

    @property
    def heads(self) -> int:
        return self.width // self.head_dim

    @property
    def rows(self) -> int:
        return math.ceil(self.vocabulary / 64) * 64

    def has_values(self, layer: int) -> bool:
        return layer % 2 == (self.depth - 1) % 2

    def window(self, layer: int) -> int:
        letter = self.pattern[layer % len(self.pattern)]
        if letter == "L" or layer == self.depth - 1:
            return self.context
        return math.ceil(math.ceil(self.context / 4) / 128) * 128 if self.july else self.context // 2


def initial_weights(sizes: Sizes, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    width, s = sizes.width, 3**0.5 * sizes.width**-0.5
    w: dict[str, Tensor] = {}
    w["transformer.wte.weight"] = torch.empty(sizes.rows, width).normal_(0.0, 0.8 if sizes.july else 1.0)
    w["lm_head.weight"] = torch.empty(sizes.rows, width).normal_(0.0, 0.001)
    k = 0.4 if sizes.july else 1.0
    for i in range(sizes.depth):
        for name in ("c_q", "c_k", "c_v"):
            w[f"transformer.h.{i}.attn.{name}.weight"] = torch.empty(width, width).uniform_(-s, s)
        w[f"transformer.h.{i}.attn.c_proj.weight"] = torch.zeros(width, width)
        w[f"transformer.h.{i}.mlp.c_fc.weight"] = torch.empty(4 * width, width).uniform_(-s * k, s * k)
        w[f"transformer.h.{i}.mlp.c_proj.weight"] = torch.zeros(width, 4 * width)
    if sizes.july:
        w["smear_gate.weight"] = torch.empty(1, 24).uniform_(0.0, 0.02)
        w["smear_lambda"] = torch.zeros(1)
        w["backout_lambda"] = torch.full((1,), 0.2)
    valued = [i for i in range(sizes.depth) if sizes.has_values(i)]
    for i in valued:
        w[f"value_embeds.{i}.weight"] = torch.empty(sizes.rows, width).uniform_(-s, s)
    for i in valued:
        shape = (sizes.heads, 12 if sizes.july else 32)
        gate = torch.empty(shape).uniform_(0.0, 0.02) if sizes.july else torch.zeros(shape)
        w[f"transformer.h.{i}.attn.ve_gate.weight"] = gate
    share = [i / max(sizes.depth - 1, 1) for i in range(sizes.depth)]
    w["resid_lambdas"] = torch.tensor([1.15 - 0.10 * p if sizes.july else 1.0 for p in share])
    w["x0_lambdas"] = torch.tensor([0.20 - 0.15 * p if sizes.july else 0.1 for p in share])
    return w


def norm(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPSILON)


def rotated(x: Tensor, sizes: Sizes) -> Tensor:
    """x: (B, T, H, d)."""
    half = sizes.head_dim // 2
    base = 100_000 if sizes.july else 10_000
    frequency = 1.0 / base ** (2 * torch.arange(half, dtype=torch.float32) / sizes.head_dim)
    angle = torch.arange(x.size(1), dtype=torch.float32).unsqueeze(1) * frequency
    cos, sin = angle.cos()[:, None, :], angle.sin()[:, None, :]
    if not sizes.july:
        cos, sin = cos.bfloat16().float(), sin.bfloat16().float()
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * cos + two * sin, -one * sin + two * cos], dim=-1)


def attention(w: dict[str, Tensor], sizes: Sizes, layer: int, u: Tensor, tokens: Tensor) -> Tensor:
    rows, length, _ = u.shape
    split = (rows, length, sizes.heads, sizes.head_dim)
    name = f"transformer.h.{layer}.attn"
    q, k, v = (torch.matmul(u, w[f"{name}.{part}.weight"].T).view(split) for part in ("c_q", "c_k", "c_v"))
    if sizes.has_values(layer):
        channels, strength = (12, 3.0) if sizes.july else (32, 2.0)
        gate = strength * torch.sigmoid(torch.matmul(u[..., :channels], w[f"{name}.ve_gate.weight"].T))
        v = v + gate[..., None] * w[f"value_embeds.{layer}.weight"][tokens].view(split)
    q, k = norm(rotated(q, sizes)), norm(rotated(k, sizes))
    if sizes.july:
        q, k = 1.2 * q, 1.2 * k
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(sizes.head_dim)
    back = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    scores = scores.masked_fill((back < 0) | (back > sizes.window(layer)), -math.inf)
    mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v).reshape(rows, length, -1)
    return torch.matmul(mixed, w[f"{name}.c_proj.weight"].T)


def mean_loss(w: dict[str, Tensor], sizes: Sizes, tokens: Tensor, targets: Tensor) -> Tensor:
    x = norm(w["transformer.wte.weight"][tokens])
    if sizes.july:
        smeared = [x[:, 0]]
        for t in range(1, x.size(1)):
            gate = torch.sigmoid(torch.matmul(x[:, t, :24], w["smear_gate.weight"].T))
            smeared.append(x[:, t] + w["smear_lambda"] * gate * x[:, t - 1])
        x = torch.stack(smeared, dim=1)
    x0 = x
    middle = x
    for i in range(sizes.depth):
        x = w["resid_lambdas"][i] * x + w["x0_lambdas"][i] * x0
        x = x + attention(w, sizes, i, norm(x), tokens)
        hidden = torch.relu(torch.matmul(norm(x), w[f"transformer.h.{i}.mlp.c_fc.weight"].T)) ** 2
        x = x + torch.matmul(hidden, w[f"transformer.h.{i}.mlp.c_proj.weight"].T)
        if i == sizes.depth // 2:
            middle = x
    if sizes.july:
        x = x - w["backout_lambda"] * middle
    logits = torch.matmul(norm(x), w["lm_head.weight"].T)[..., : sizes.vocabulary].float()
    logits = 15 * torch.tanh(logits / 15)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass
class PlainTraining:
    """The update of every weight, as both recipes have it."""

    sizes: Sizes
    weights: dict[str, Tensor]
    batch_tokens: int
    steps: int
    knobs: dict[str, float]
    decay_scale: float
    moments: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in self.weights.values():
            value.requires_grad_()

    def step(self, it: int, tokens: Tensor, targets: Tensor) -> float:
        loss = mean_loss(self.weights, self.sizes, tokens, targets)
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        self.update(it, dict(zip(self.weights, gradients, strict=True)))
        return loss.item()

    @torch.no_grad()
    def update(self, it: int, gradients: dict[str, Tensor]) -> None:
        for name, p in self.weights.items():
            if name.startswith("transformer.h."):
                self.muon(name, p, gradients[name], it)
            else:
                self.adam(name, p, gradients[name], it)

    def adam(self, name: str, p: Tensor, g: Tensor, it: int) -> None:
        july, s = self.sizes.july, math.sqrt(self.batch_tokens / 2**19)
        r, k = (self.sizes.width / 768) ** -0.5, self.knobs
        rate, betas, decay = {
            "lm_head": (k["unembedding_lr"] * s * r, (0.8, 0.96 if july else 0.95), 0.01 if july else 0.0),
            "transformer": (k["embedding_lr"] * s * r, (0.8, 0.995 if july else 0.95), 0.001 if july else 0.0),
            "value_embeds": (
                k["embedding_lr"] * s * r * (0.5 if july else 1.0),
                (0.8, 0.995 if july else 0.95),
                0.01 if july else 0.0,
            ),
            "resid_lambdas": (k["scalar_lr"] * s * 0.01, (0.8, 0.95), 0.05 if july else 0.0),
            "x0_lambdas": (k["scalar_lr"] * s, (0.96, 0.95), 0.0),
            "smear_gate": (0.2, (0.8, 0.95), 0.0),
            "smear_lambda": (0.2, (0.8, 0.95), 0.0),
            "backout_lambda": (0.2, (0.8, 0.95), 0.0),
        }[name.split(".")[0]]
        rate *= self.rate_multiplier(it)
        m, v = self.moments.setdefault(name, [torch.zeros_like(p), torch.zeros_like(p)])
        p *= 1 - rate * decay
        m += (1 - betas[0]) * (g - m)
        v += (1 - betas[1]) * (g * g - v)
        p -= rate / (1 - betas[0] ** (it + 1)) * m / (torch.sqrt(v / (1 - betas[1] ** (it + 1))) + 1e-10)

    def muon(self, name: str, p: Tensor, g: Tensor, it: int) -> None:
        july, (rows, columns) = self.sizes.july, p.shape
        by_row = rows >= columns
        buffer = torch.zeros(rows, 1) if by_row else torch.zeros(1, columns)
        momentum, second = self.moments.setdefault(name, [torch.zeros_like(p), buffer])
        # lerp and float32 to the last bit, as nanochat has it: bfloat16 magnifies any difference.
        mu = torch.tensor(self.momentum(it))
        momentum.lerp_(g, 1 - mu)
        x = torch.lerp(g, momentum, mu)
        if july:
            lengths = x.norm(dim=1, keepdim=True)
            x = x * ((x.norm() / math.sqrt(rows)) / lengths.clamp_min(1e-6))
            x = x / (1.01 * x.norm() + 1e-6)
        else:
            x = x.bfloat16()
            x = x / (1.02 * x.norm() + 1e-6)
        for a, b, c in POLAR:
            if rows > columns:
                gram = x.T @ x
                x = a * x + x @ (b * gram + c * (gram @ gram))
            else:
                gram = x @ x.T
                x = a * x + (b * gram + c * (gram @ gram)) @ x
        x = x.float()
        if july:
            x = x * (math.sqrt(min(rows, columns)) / x.norm().clamp_min(1e-6))
        v = (x * x).mean(dim=1 if by_row else 0, keepdim=True)
        n = columns if by_row else rows
        second += (1 - (0.9 if july else 0.95)) * (v - second)
        k = second.clamp_min(1e-10) ** -0.5
        x = x * k * torch.sqrt(n * v.sum()) / torch.sqrt(n * (v * k * k).sum()).clamp_min(1e-10)
        s = math.sqrt(self.batch_tokens / 2**19)
        rate = self.knobs["matrix_lr"] * s * math.sqrt(max(1, rows / columns)) * self.rate_multiplier(it)
        decay = self.knobs["weight_decay"] * self.decay_scale * self.decay_multiplier(it)
        p -= rate * x + rate * decay * p * ((x * p) >= 0)

    @property
    def warmdown(self) -> int:
        return round((0.65 if self.sizes.july else 0.5) * self.steps)

    def rate_multiplier(self, it: int) -> float:
        warmup, final = (40, 0.05) if self.sizes.july else (0, 0.0)
        if it < warmup:
            return (it + 1) / warmup
        if it <= self.steps - self.warmdown:
            return 1.0
        progress = (self.steps - it) / self.warmdown
        return progress + (1 - progress) * final

    def momentum(self, it: int) -> float:
        if not self.sizes.july:
            return 0.85 + 0.10 * min(it / 300, 1)
        if it < 400:
            return 0.85 + 0.12 * it / 400
        start = self.steps - self.warmdown
        return 0.97 - 0.07 * (it - start) / self.warmdown if it >= start else 0.97

    def decay_multiplier(self, it: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * it / self.steps)) if self.sizes.july else 1 - it / self.steps
