"""The flags of nanochat's training script, with their defaults, at dates that show each style of its command line."""

from typing import NamedTuple

OFF = "(-1 = disable)"


class Version(NamedTuple):
    """A date of nanochat.

    Attributes:
        style: "configurator", "underscores" or "dashes".
        data: the folder of its training data.
        flags: by name with underscores, the default as it stands in the source, and what is said about it.
    """

    style: str
    data: str
    flags: dict[str, tuple[str, str]]


def _flags(text: str) -> dict[str, tuple[str, str]]:
    """`name = default # said` a line."""
    flags = {}
    for line in text.strip().splitlines():
        name, _, rest = line.partition(" = ")
        default, _, said = rest.partition(" # ")
        flags[name] = (default, said)
    return flags


_ALWAYS = """
run = "dummy" # wandb run name
device_type = "" # cuda|cpu|mps (empty = autodetect)
depth = 20
max_seq_len = 2048
num_iterations = -1
target_flops = -1.0
device_batch_size = 32
matrix_lr = 0.02
resume_from_step = -1
eval_every = 250
core_metric_every = 2000 # every how many steps (-1 = disable)
core_metric_max_per_task = 500
sample_every = 2000 # every how many steps
save_every = -1
"""
_NOVEMBER = """
target_param_data_ratio = 20
total_batch_size = 524288
embedding_lr = 0.2
unembedding_lr = 0.004
weight_decay = 0.0
grad_clip = 1.0 # 0.0 = off
warmup_ratio = 0.0
warmdown_ratio = 0.2
final_lr_frac = 0.0
eval_tokens = 20*524288
model_tag = ""
"""
_JANUARY = """
aspect_ratio = 64
head_dim = 128
target_param_data_ratio = 8
total_batch_size = 524288
embedding_lr = 0.3
unembedding_lr = 0.004
weight_decay = 0.0
adam_beta1 = 0.8
adam_beta2 = 0.95
grad_clip = 1.0
warmup_ratio = 0.0
warmdown_ratio = 0.4
final_lr_frac = 0.0
eval_tokens = 20*524288
model_tag = None
"""
_FEBRUARY = """
aspect_ratio = 64
head_dim = 128
window_pattern = "SSSL"
fp8 = False
fp8_recipe = "tensorwise"
target_param_data_ratio = 10.5
total_batch_size = -1
embedding_lr = 0.3
unembedding_lr = 0.004
weight_decay = 0.2
scalar_lr = 0.5
adam_beta1 = 0.8
adam_beta2 = 0.95
warmup_ratio = 0.0
warmdown_ratio = 0.5
final_lr_frac = 0.0
eval_tokens = 40*524288
model_tag = None
"""
_JULY = """
aspect_ratio = 64
head_dim = 128
window_pattern = "SSSL"
fp8 = False
fp8_recipe = "tensorwise"
target_param_data_ratio = 12
total_batch_size = -1
embedding_lr = 0.3
unembedding_lr = 0.008
weight_decay = 0.28
scalar_lr = 0.5
warmup_steps = 40
warmdown_ratio = 0.65
final_lr_frac = 0.05
eval_tokens = 80*524288
model_tag = None
"""
VERSIONS = {
    "2025-11": Version("configurator", "base_data", _flags(_ALWAYS + _NOVEMBER.strip())),
    "2026-01": Version("underscores", "base_data", _flags(_ALWAYS + _JANUARY.strip())),
    "2026-02": Version("dashes", "base_data", _flags(_ALWAYS + _FEBRUARY.strip())),
    "2026-07": Version("dashes", "base_data_climbmix", _flags(_ALWAYS + _JULY.strip())),
}


def declarations(version: Version, without: tuple[str, ...] = (), more: dict[str, str] | None = None) -> str:
    """Source that declares the flags and leaves their values in `args`."""
    flags = {name: said for name, said in version.flags.items() if name not in without}
    flags |= {name: (default, "") for name, default in (more or {}).items()}
    if version.style == "configurator":
        settings = [f"{name} = {default} # {said}" for name, (default, said) in flags.items()]
        return "\n".join([*settings, CONFIGURED])
    return "\n".join(
        [
            'parser = argparse.ArgumentParser(description="Pretrain, e.g. --nowhere is not a flag")',
            *(_declaration(name, default, said, version.style) for name, (default, said) in flags.items()),
            "args = parser.parse_args()",
        ]
    )


def _declaration(name: str, default: str, said: str, style: str) -> str:
    spelled = name.replace("_", "-") if style == "dashes" else name
    if default == "False":
        return f'parser.add_argument("--{spelled}", action="store_true", help="{said}")'
    kind = "str" if default == "None" or default.startswith('"') else "float" if _is_fraction(name, default) else "int"
    return f'parser.add_argument("--{spelled}", type={kind}, default={default}, help="{said}")'


def _is_fraction(name: str, default: str) -> bool:
    return "." in default or name == "target_param_data_ratio"


CONFIGURED = """
config_keys = [key for key, value in globals().items() if key[0] != "_" and type(value) in (int, float, bool, str)]
exec(open(os.path.join("nanochat", "configurator.py")).read())
args = argparse_like(**{key: globals()[key] for key in config_keys})
"""
CONFIGURATOR = """
import ast
for word in sys.argv[1:]:
    assert word.startswith("--"), "a file of settings"
    key, equals, text = word[2:].partition("=")
    assert equals, "a value is missing"
    if key not in globals():
        raise ValueError(f"Unknown config key: {key}")
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    assert type(value) is type(globals()[key]), f"{key} has another type"
    print(f"Overriding: {key} = {value}")
    globals()[key] = value
"""
