"""Training logs as nanochat prints them."""

HEADER = """\
lm_head                 : 25,165,824
transformer_matrices    : 84,935,808
Calculated number of iterations from target data:param ratio: 300
Total number of training tokens: 4,915,200
Tokens : Scaling params ratio: 0.04
Tracking time-to-target using val_bpb with threshold 0.93
Total batch size 16,384 => gradient accumulation steps: 4
"""


def train(step: int, loss: str = "3.5", total: float = 0.0, dt: float = 600.0, speed: str = "27,306") -> str:
    return (
        f"step {step:05d}/00300 (1.00%) | loss: {loss} | lrm: 1.00 | dt: {dt:.2f}ms | tok/sec: {speed} | "
        f"bf16_mfu: 0.00 | epoch: 1 | total time: {total:.2f}m | eta: 2.8m\n"
    )


def validation(step: int, bpb: object) -> str:
    text = bpb if isinstance(bpb, str) else f"{bpb:.6f}"
    return f"Step {step:05d} | Validation bpb: {text}\n"


def steps(first: int, last: int, bpb: dict[int, float]) -> str:
    """Steps [first, last) as nanochat prints them: the evaluation of a step before its update, 0.6 s an update."""
    lines = []
    for step in range(first, last + 1):
        if step in bpb:
            lines.append(validation(step, bpb[step]))
        if step < last:
            lines.append(train(step, total=max(0, step - 10) * 0.01))
    return "".join(lines)


def footer(minimum: object) -> str:
    text = minimum if isinstance(minimum, str) else f"{minimum:.6f}"
    return f"Peak memory usage: 1,812.40MiB\nTotal training time: 2.89m\nMinimum validation bpb: {text}\n"


CURVE = {0: 3.2, 100: 1.2, 200: 1.0, 300: 0.9}
WHOLE = HEADER + steps(0, 300, CURVE) + footer(0.9)
