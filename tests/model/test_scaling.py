import subprocess
import sys

import pytest

from laneb.model.scaling import (
    ModelShape,
    automatic_total_batch_size,
    count_parameters,
    flops_per_token,
    resolve_total_batch_size,
    steps_for_ratio,
)

D12 = ModelShape(depth=12, aspect_ratio=64, head_dim=128, max_seq_len=2048, vocab_size=32768)


def test_depth_12_has_the_published_counts():
    scaling = count_parameters(D12)
    assert scaling.param_counts.model_dump() == {
        "wte": 25_165_824,
        "value_embeds": 150_994_944,
        "lm_head": 25_165_824,
        "transformer_matrices": 84_935_808,
        "scalars": 24,
        "total": 286_262_424,
    }
    assert scaling.n_scaling_params == 110_101_632
    assert (scaling.model_dim, scaling.n_head, scaling.n_kv_head) == (768, 6, 6)


def test_width_is_rounded_up_to_whole_heads():
    shape = D12.model_copy(update={"depth": 5, "aspect_ratio": 30, "head_dim": 64})
    assert (shape.model_dim, shape.n_head) == (192, 3)


def test_value_embeddings_alternate_and_end_with_the_last_layer():
    assert D12.model_copy(update={"depth": 5}).value_embedding_layers == (0, 2, 4)
    assert D12.model_copy(update={"depth": 4}).value_embedding_layers == (1, 3)


def test_the_vocabulary_is_padded_to_multiples_of_64():
    assert count_parameters(D12.model_copy(update={"vocab_size": 1001})).param_counts.wte == 1024 * 768


def test_windows_are_tiled_and_the_last_layer_sees_everything():
    shape = D12.model_copy(update={"depth": 4, "window_pattern": "SL"})
    assert [shape.window(layer) for layer in range(4)] == [1024, 2048, 1024, 2048]
    assert D12.model_copy(update={"window_pattern": "S"}).window(11) == 2048


@pytest.mark.parametrize("n_kv_head", [0, 4, 7])
def test_key_value_heads_that_do_not_divide_the_heads_are_refused(n_kv_head):
    with pytest.raises(ValueError, match="divisor of 6, or -1"):
        ModelShape(**{**D12.model_dump(), "n_kv_head": n_kv_head})


def test_fewer_key_value_heads_shrink_keys_values_gates_and_value_embeddings():
    counts = count_parameters(D12.model_copy(update={"n_kv_head": 2})).param_counts
    assert counts.value_embeds == 150_994_944 // 3
    assert counts.transformer_matrices == 12 * (2 * 768**2 + 2 * 768 * 256 + 8 * 768**2) + 6 * 32 * 2


def test_the_automatic_batch_is_nanochats_at_depth_12_and_grows_with_the_model():
    assert automatic_total_batch_size(D12, 32) == 2**19
    deeper = [automatic_total_batch_size(D12.model_copy(update={"depth": depth}), 32) for depth in (4, 12, 26)]
    assert deeper == [2**18, 2**19, 2**20]


def test_the_automatic_batch_is_whole_forward_passes():
    assert automatic_total_batch_size(D12, 24) % (24 * 2048) == 0


def test_a_batch_that_is_no_whole_number_of_forward_passes_is_refused_with_one_that_is():
    with pytest.raises(ValueError, match=r"32 \* 2048 = 65536 tokens\. Try LANE_B_TOTAL_BATCH_SIZE=131072"):
        resolve_total_batch_size(D12, 32, 100_000)


def test_a_ratio_becomes_whole_steps_rounded_down():
    assert steps_for_ratio(10.5, 110_101_632, 524_288) == int(10.5 * 110_101_632) // 524_288 == 2205


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), 1e-9])
def test_a_ratio_without_a_step_is_refused(ratio):
    with pytest.raises(ValueError, match="ratio"):
        steps_for_ratio(ratio, 110_101_632, 524_288)


def test_operations_per_token_count_products_and_attention():
    assert flops_per_token(D12) == 6 * 110_101_632 + 12 * 12 * 768 * 2048


def test_counting_imports_no_torch():
    code = "import sys, laneb.model.scaling, laneb.training.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
