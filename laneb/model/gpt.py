"""A GPT of nanochat's family.

Rotary positions, normed queries and keys, ReLU^2 MLPs, an untied head, value embeddings on every other layer,
a pair of scalars per layer, a soft cap on the logits, RMS norm without weights, sliding windows, no biases.

Shapes in comments: B rows, T positions, D width, H query heads, K key/value heads, E head dim, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn

from laneb.model.attention import attend, visible
from laneb.model.loss import mean_loss, token_losses
from laneb.model.norm import unit_rms
from laneb.model.scaling import VALUE_GATE_CHANNELS, ModelShape

ROTARY_BASE = 10_000


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + E/2) by its position's angle. x: (B, T, H, E); cos, sin: (T, 1, E/2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


class Matrix(nn.Module):
    """A weight without bias, kept in float32 and multiplied in its input's number format."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Causal self-attention, over a window of the context where the layer has one."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.n_head, shape.kv_heads, shape.head_dim
        self.window = shape.window(layer)
        width, kv_width = shape.model_dim, shape.kv_heads * shape.head_dim
        self.query = Matrix(width, width)
        self.key = Matrix(width, kv_width)
        self.value = Matrix(width, kv_width)
        self.output = Matrix(width, width)
        self.value_gate = Matrix(VALUE_GATE_CHANNELS, shape.kv_heads) if layer in shape.value_embedding_layers else None

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        weight = torch.cat((self.query.weight, self.key.weight, self.value.weight)).to(x.dtype)
        qkv = F.linear(x, weight).view(rows, length, self.heads + 2 * self.kv_heads, self.head_dim)
        query_key, v = qkv[:, :, : -self.kv_heads], qkv[:, :, -self.kv_heads :]
        if self.value_gate is not None and value_embedding is not None:
            # Zero weights make the gate 1: value embeddings start out added at full strength.
            gate = 2 * torch.sigmoid(self.value_gate(x[..., :VALUE_GATE_CHANNELS]))  # (B, T, K)
            v = v + gate.unsqueeze(-1) * value_embedding.view_as(v)
        query_key = unit_rms(rotate(query_key, cos, sin))
        attended = attend(query_key[:, :, : self.heads], query_key[:, :, self.heads :], v, self.window, mask)
        result: Tensor = self.output(attended.reshape(rows, length, -1))
        return result


class MLP(nn.Module):
    """D -> 4D, ReLU squared, 4D -> D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = Matrix(width, 4 * width)
        self.contract = Matrix(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.contract(F.relu(self.expand(x)).square())
        return result


class Block(nn.Module):
    """Attention and MLP, each on the normed residual stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention = Attention(shape, layer)
        self.mlp = MLP(shape.model_dim)

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(unit_rms(x), value_embedding, cos, sin, mask)
        result: Tensor = x + self.mlp(unit_rms(x))
        return result


class GPT(nn.Module):
    """The model. `forward` gives the mean loss in nats; `losses` one per target, for bits per byte.

    Args:
        shape: sizes of everything.
        dtype: number format of activations and products; weights stay float32.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.dtype, self.compiled = shape, dtype, False
        kv_width = shape.kv_heads * shape.head_dim
        self.token_embedding = nn.Embedding(shape.padded_vocab_size, shape.model_dim)
        self.value_embeddings = nn.ModuleDict(
            {str(layer): nn.Embedding(shape.padded_vocab_size, kv_width) for layer in shape.value_embedding_layers}
        )
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.depth))
        self.head = Matrix(shape.model_dim, shape.padded_vocab_size)
        self.residual_scales = nn.Parameter(torch.empty(shape.depth))
        self.embedding_scales = nn.Parameter(torch.empty(shape.depth))
        cos, sin = _rotary_tables(shape.max_seq_len, shape.head_dim)
        self.register_buffer("cos", cos.to(dtype), persistent=False)
        self.register_buffer("sin", sin.to(dtype), persistent=False)
        self._run_trunk: Callable[[Tensor], Tensor] = self.trunk
        self._windows = tuple(shape.window(layer) for layer in range(shape.depth))
        for window in sorted(set(self._windows)):
            self.register_buffer(f"mask_{window}", visible(shape.max_seq_len, window), persistent=False)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Fill the weights, a pure function of the seed.

        Matrices uniform with standard deviation 1/sqrt(D), projections back into the stream zero, embeddings
        normal(0, 1), head normal(0, 0.001), residual scales 1, embedding scales 0.1.
        """
        source = torch.Generator().manual_seed(seed)
        bound = math.sqrt(3 / self.shape.model_dim)
        self.token_embedding.weight.normal_(0.0, 1.0, generator=source)
        for table in self.value_embeddings.values():
            assert isinstance(table, nn.Embedding)
            table.weight.uniform_(-bound, bound, generator=source)
        for block in self.blocks:
            assert isinstance(block, Block)
            attention, mlp = block.attention, block.mlp
            for matrix in (attention.query, attention.key, attention.value, mlp.expand):
                matrix.weight.uniform_(-bound, bound, generator=source)
            for silent in (attention.output, mlp.contract, attention.value_gate):
                if silent is not None:
                    silent.weight.zero_()
        self.head.weight.normal_(0.0, 0.001, generator=source)
        self.residual_scales.fill_(1.0)
        self.embedding_scales.fill_(0.1)

    def compile_parts(self) -> None:
        """Compile the trunk, and the passes over a chunk of logits."""
        self.compiled = True
        # Kernels have to depend on their shapes alone, not on those before: a resumed run meets them in another order.
        self._run_trunk = torch.compile(self.trunk, dynamic=False)

    def trunk(self, tokens: Tensor) -> Tensor:
        """Hidden states before the head. tokens: (B, T) integers -> (B, T, D)."""
        length = tokens.size(1)
        cos, sin = self.cos[:length], self.sin[:length]
        x = embedded = unit_rms(self.token_embedding(tokens).to(self.dtype))
        residual_scales, embedding_scales = self.residual_scales.to(self.dtype), self.embedding_scales.to(self.dtype)
        for layer, block in enumerate(self.blocks):
            x = residual_scales[layer] * x + embedding_scales[layer] * embedded
            values = None
            if layer in self.shape.value_embedding_layers:
                values = self.value_embeddings[str(layer)](tokens).to(self.dtype)
            x = block(x, values, cos, sin, self._mask(layer, length))
        return unit_rms(x)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy [nats] of targets (B, T) given tokens (B, T)."""
        hidden = self._run_trunk(tokens).flatten(0, 1)
        weight = self.head.weight[: self.shape.vocab_size]
        return mean_loss(hidden, weight, targets.flatten(), compiled=self.compiled)

    @torch.no_grad()
    def losses(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy [nats] of each target: (B, T) float32."""
        hidden = self._run_trunk(tokens).flatten(0, 1)
        weight = self.head.weight[: self.shape.vocab_size]
        return token_losses(hidden, weight, targets.flatten()).view_as(targets)

    def _mask(self, layer: int, length: int) -> Tensor:
        mask: Tensor = self.get_buffer(f"mask_{self._windows[layer]}")
        return mask[:length, :length]


def _rotary_tables(length: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """cos and sin of position * base^(-2i/E): (T, 1, E/2), float32."""
    frequency = ROTARY_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)
