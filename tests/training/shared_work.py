"""One of several processes that orthogonalise stacks together; says how many matrices of each were its own."""

import sys
from pathlib import Path

import torch

from laneb.model.recipes import recipe_named
from laneb.training.devices import Device
from laneb.training.run_directory import read_spec


def main(spec_file: str, sizes: list[int]) -> None:
    spec = read_spec(Path(spec_file))
    device, own = Device(spec), dict.fromkeys(sizes, 0)
    orthogonalise = recipe_named(spec.recipe_name).orthogonalise
    for size in sizes:

        def counted(stack: torch.Tensor, dtype: torch.dtype, size: int = size) -> torch.Tensor:
            own[size] += len(stack)
            return orthogonalise(stack, dtype)

        stack = torch.randn((size, 6, 4), generator=torch.Generator().manual_seed(size))
        together = device.shared(counted)(stack, torch.float32)
        torch.testing.assert_close(together, orthogonalise(stack, torch.float32), rtol=1e-5, atol=1e-6)
    # In one piece, since the other processes write too.
    sys.stdout.write(f"own {' and '.join(map(str, own.values()))}\n")
    device.close()


if __name__ == "__main__":
    main(sys.argv[1], [int(size) for size in sys.argv[2:]])
