"""Drawing weights in nanochat's order: one stream of random numbers, so the order decides every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator

    from laneb.model.gpt import GPT

HEAD_DEVIATION = 0.001


def uniform_bound(width: int) -> float:
    """Bound of a uniform distribution of standard deviation 1 / sqrt(width), to the last bit as nanochat has it."""
    bound: float = 3**0.5 * width**-0.5
    return bound


def tables_and_head(model: GPT, source: Generator, *, embedding_deviation: float) -> None:
    """Token embeddings, then the head."""
    model.token_embedding.weight.normal_(0.0, embedding_deviation, generator=source)
    model.head.weight.normal_(0.0, HEAD_DEVIATION, generator=source)


def draw_blocks(model: GPT, source: Generator, bound: float, *, expand_share: float) -> None:
    """Layer by layer: query, key, value, MLP; what leads back into the stream is zero."""
    for block in model.layers():
        attention, mlp = block.attention, block.mlp
        for matrix in (attention.query, attention.key, attention.value):
            matrix.weight.uniform_(-bound, bound, generator=source)
        attention.output.weight.zero_()
        mlp.expand.weight.uniform_(-bound * expand_share, bound * expand_share, generator=source)
        mlp.contract.weight.zero_()


def draw_value_embeddings(model: GPT, source: Generator, bound: float) -> None:
    """The tables of value embeddings, in layer order."""
    for table in model.value_tables():
        table.uniform_(-bound, bound, generator=source)
