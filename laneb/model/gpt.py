"""A GPT of nanochat's family.

Rotary positions, normed queries and keys, ReLU^2 MLPs, an untied head, value embeddings on every other layer,
a pair of scalars per layer, a soft cap on the logits, RMS norm without weights, sliding windows, no biases. What
differs between dated recipes (`laneb.model.recipes`) is read from the shape's `Architecture`.

Shapes in comments: B rows, T positions, D width, H query heads, K key/value heads, E head dim, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from torch import Tensor, nn

from laneb.model.attention import attend, blocks_of_window, visible
from laneb.model.loss import mean_loss, token_losses
from laneb.model.norm import unit_rms
from laneb.model.recipes.recipe import Architecture
from laneb.model.scaling import ModelShape

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

    Mask = Tensor | BlockMask


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
        self.visible, self.architecture = shape.visible_tokens(layer), shape.recipe_of.architecture
        width, kv_width = shape.model_dim, shape.kv_heads * shape.head_dim
        self.query = Matrix(width, width)
        self.key = Matrix(width, kv_width)
        self.value = Matrix(width, kv_width)
        self.output = Matrix(width, width)
        gated = layer in shape.value_embedding_layers
        self.value_gate = Matrix(self.architecture.value_gate_channels, shape.kv_heads) if gated else None

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        rows, length, _ = x.shape
        how = self.architecture
        weight = torch.cat((self.query.weight, self.key.weight, self.value.weight)).to(x.dtype)
        qkv = F.linear(x, weight).view(rows, length, self.heads + 2 * self.kv_heads, self.head_dim)
        query_key, v = qkv[:, :, : -self.kv_heads], qkv[:, :, -self.kv_heads :]
        if self.value_gate is not None and value_embedding is not None:
            # Weights near zero make a gate half its strength, and value embeddings count from the start.
            gate = how.value_gate_strength * torch.sigmoid(self.value_gate(x[..., : how.value_gate_channels]))
            v = v + gate.unsqueeze(-1) * value_embedding.view_as(v)  # gate: (B, T, K)
        query_key = unit_rms(rotate(query_key, cos, sin), how.norm_epsilon)
        q, k = query_key[:, :, : self.heads], query_key[:, :, self.heads :]
        attended = attend(q, k, v, self.visible, mask, how.query_key_gain**2)
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
        self.norm_epsilon = shape.recipe_of.architecture.norm_epsilon

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        x = x + self.attention(unit_rms(x, self.norm_epsilon), value_embedding, cos, sin, mask)
        result: Tensor = x + self.mlp(unit_rms(x, self.norm_epsilon))
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
        self.recipe = shape.recipe_of
        self.architecture = self.recipe.architecture
        kv_width = shape.kv_heads * shape.head_dim
        self.token_embedding = nn.Embedding(shape.padded_vocab_size, shape.model_dim)
        self.value_embeddings = nn.ModuleDict(
            {str(layer): nn.Embedding(shape.padded_vocab_size, kv_width) for layer in shape.value_embedding_layers}
        )
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.depth))
        self.head = Matrix(shape.model_dim, shape.padded_vocab_size)
        self.residual_scales = nn.Parameter(torch.empty(shape.depth))
        self.embedding_scales = nn.Parameter(torch.empty(shape.depth))
        smears = self.architecture.smear_channels
        self.smear_gate = Matrix(smears, 1) if smears else None
        self.smear_scale = nn.Parameter(torch.empty(1)) if smears else None
        self.backout_scale = nn.Parameter(torch.empty(1)) if self.architecture.takes_back_the_middle else None
        cos, sin = _rotary_tables(shape.max_seq_len, shape.head_dim, self.architecture)
        self.register_buffer("cos", cos.to(dtype), persistent=False)
        self.register_buffer("sin", sin.to(dtype), persistent=False)
        self._run_trunk: Callable[[Tensor], Tensor] = self.trunk
        self.window_blocks: dict[int, BlockMask] = {}
        self._windows = tuple(shape.visible_tokens(layer) for layer in range(shape.depth))
        for window in sorted(set(self._windows)):
            self.register_buffer(f"mask_{window}", visible(shape.max_seq_len, window), persistent=False)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Fill the weights as the recipe does: a pure function of the seed, whatever device they go to afterwards."""
        self.recipe.initialise(self, torch.Generator().manual_seed(seed))

    def layers(self) -> Iterator[Block]:
        """The blocks, in order."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def value_tables(self) -> Iterator[Tensor]:
        """The tables of value embeddings, in layer order."""
        for table in self.value_embeddings.values():
            assert isinstance(table, nn.Embedding)
            yield table.weight

    def value_gates(self) -> Iterator[Tensor]:
        """The gates of value embeddings, in layer order."""
        for block in self.layers():
            if block.attention.value_gate is not None:
                yield block.attention.value_gate.weight

    def compile_parts(self) -> None:
        """Compile the trunk, and the passes over a chunk of logits; on a GPU windows skip what they don't see."""
        self.compiled = True
        if self.cos.is_cuda:
            self.skip_unseen_blocks()
        # Kernels have to depend on their shapes alone, not on those before: a resumed run meets them in another order.
        self._run_trunk = torch.compile(self.trunk, dynamic=False)

    def skip_unseen_blocks(self) -> None:
        """Have sliding windows computed by FlexAttention: only torch.compile makes that fast."""
        length = self.shape.max_seq_len
        shorter = (window for window in set(self._windows) if window < length)
        self.window_blocks = {window: blocks_of_window(length, window, self.cos.device) for window in shorter}

    def trunk(self, tokens: Tensor) -> Tensor:
        """Hidden states before the head. tokens: (B, T) integers -> (B, T, D)."""
        length = tokens.size(1)
        cos, sin = self.cos[:length], self.sin[:length]
        epsilon, middle = self.architecture.norm_epsilon, None
        x = embedded = self._smeared(unit_rms(self.token_embedding(tokens).to(self.dtype), epsilon))
        residual_scales, embedding_scales = self.residual_scales.to(self.dtype), self.embedding_scales.to(self.dtype)
        for layer, block in enumerate(self.blocks):
            x = residual_scales[layer] * x + embedding_scales[layer] * embedded
            values = None
            if layer in self.shape.value_embedding_layers:
                values = self.value_embeddings[str(layer)](tokens).to(self.dtype)
            x = block(x, values, cos, sin, self._mask(layer, length))
            middle = x if layer == self.shape.depth // 2 else middle
        if self.backout_scale is not None and middle is not None:
            x = x - self.backout_scale.to(self.dtype) * middle
        return unit_rms(x, epsilon)

    def _smeared(self, x: Tensor) -> Tensor:
        """Each position with a gated share of the one before it mixed in, where the recipe does so."""
        if self.smear_gate is None or self.smear_scale is None:
            return x
        gate = torch.sigmoid(self.smear_gate(x[:, 1:, : self.architecture.smear_channels]))  # (B, T - 1, 1)
        return torch.cat((x[:, :1], x[:, 1:] + self.smear_scale.to(self.dtype) * gate * x[:, :-1]), dim=1)

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

    def _mask(self, layer: int, length: int) -> Mask:
        blocks = self.window_blocks.get(self._windows[layer])
        if blocks is not None and length == self.shape.max_seq_len:
            return blocks
        mask: Tensor = self.get_buffer(f"mask_{self._windows[layer]}")
        return mask[:length, :length]


def _rotary_tables(length: int, head_dim: int, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """cos and sin of position times the architecture's frequencies: (T, 1, E/2), float32."""
    frequencies = architecture.rotary_frequencies(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    cos, sin = angle.cos().unsqueeze(1), angle.sin().unsqueeze(1)
    return (cos.bfloat16().float(), sin.bfloat16().float()) if architecture.rotary_in_bfloat16 else (cos, sin)
