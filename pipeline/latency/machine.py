"""The machine that is timed: its last-level cache, and what identifies it."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CPU_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
CPU_FACTS = Path("/proc/cpuinfo")

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_PACKAGES = ("torch", "transformers", "numba", "triton")


def last_level_cache(device: torch.device, caches: Path = CPU_CACHES) -> int | None:
    """Bytes of the cache in front of the memory that weights are read from; None where the machine does not say.

    A GPU's L2, from its driver; of a CPU the unified cache of the highest level, from Linux.

    Args:
        device: where weights are.
        caches: the folder in which Linux describes the caches of a core.
    """
    if device.type == "cuda":
        size = int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
        return size or None
    found: list[tuple[int, int]] = []
    for index in caches.glob("index*"):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        parts = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind == "Unified" and parts:
            found.append((int(level), int(parts[1]) * _UNITS[parts[2]]))
    return max(found)[1] if found else None


def device_name(device: torch.device, facts: Path = CPU_FACTS) -> str:
    """What the device calls itself: the GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named[1].strip() if named else platform.processor() or platform.machine()


def machine(device: torch.device, threads: int) -> dict[str, object]:
    """What timings depend on besides the work, JSON-serialisable: equal on the same machine with the same software."""
    found: dict[str, object] = {
        "device": device_name(device),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if device.type == "cuda":
        found["cuda"] = torch.version.cuda
    return found


def load() -> float:
    """Programs that want a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)
