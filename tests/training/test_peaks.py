import pytest

from laneb.training.peaks import bfloat16_peak


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA H100 NVL", 835), ("NVIDIA H800", 989),
        ("NVIDIA H200", 989), ("NVIDIA GH200 480GB", 989), ("NVIDIA B200", 2250), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312), ("NVIDIA A800-SXM4-80GB", 312), ("NVIDIA A10", 125), ("NVIDIA A10G", 70),
        ("NVIDIA A30", 165), ("NVIDIA A40", 150), ("NVIDIA L4", 121), ("NVIDIA L40", 181), ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165), ("NVIDIA GeForce RTX 3090 Ti", 80), ("NVIDIA RTX A6000", 155),
        ("NVIDIA RTX 6000 Ada Generation", 364), ("AMD Instinct MI300X", 1307), ("AMD Instinct MI250X", 383),
    ],
)  # fmt: skip
def test_a_name_gives_its_own_peak(name, tera):
    assert bfloat16_peak(name) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA RTX A1000", "NVIDIA A1000 Laptop GPU", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA RTX A2000",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4060", "NVIDIA GeForce RTX 3070 Ti", "Quadro L400",
        "NVIDIA T4", "Tesla V100-SXM2-16GB", "NVIDIA GeForce RTX 4070 SUPER", "",
    ],
)  # fmt: skip
def test_another_card_is_not_taken_for_one_that_is_known(name):
    assert bfloat16_peak(name) is None
