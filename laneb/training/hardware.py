"""What this machine offers a run, found without importing torch: settings are resolved before any is trained."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

_CUDA_COMPUTE_CAPABILITY_MAJOR = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR of the CUDA driver API


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def cuda_capability() -> int | None:
    """Major compute capability of the first visible CUDA device, or None without one that torch could use."""
    try:
        if "+cpu" in metadata.version("torch") or sys.platform == "darwin":
            return None
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except (metadata.PackageNotFoundError, OSError):
        return None
    count, device, major = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    found = (
        driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
        and driver.cuDeviceGet(ctypes.byref(device), 0) == 0
        and driver.cuDeviceGetAttribute(ctypes.byref(major), _CUDA_COMPUTE_CAPABILITY_MAJOR, device) == 0
    )
    return major.value if found else None


def resolve_device(device: str) -> str:
    """The device type that `auto` stands for here: cuda, mps or cpu; any other name is kept."""
    if device != "auto":
        return device
    if cuda_capability() is not None:
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


@functools.cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16 matrices (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_bf16)\b", flags) is not None


@functools.cache
def can_compile_for_cpu() -> bool:
    """Whether torch.compile finds what it needs for the CPU: Linux, a C++ compiler and Python's headers."""
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return sys.platform == "linux" and shutil.which("g++") is not None and header.exists()


def can_compile(device: str) -> bool:
    """Whether torch.compile finds what it needs here: on CUDA its kernels want a C compiler for their launchers."""
    if device == "cuda":
        return any(shutil.which(name) for name in (os.environ.get("CC") or "cc", "gcc", "clang"))
    return can_compile_for_cpu()


def peak_resident_mib() -> float:
    """Most memory this process held so far [MiB].

    Linux is asked for the peak since the program began (VmHWM): getrusage's figure starts at the parent's size, which
    a child that was forked from a large process would report as its own.
    """
    if sys.platform.startswith("linux"):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
