"""Facts about the machine that is timed: its last-level cache, its name, its software, its load."""

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
    """Bytes of the last-level cache; None where it is unknown.

    Of a GPU its L2, from the driver; of a CPU the unified cache of the highest level, from the folder in which Linux
    describes the caches of a core.
    """
    if device.type == "cuda":
        size = int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0))
        return size or None
    unified: list[tuple[int, int]] = []
    for index in caches.glob("index*"):
        try:
            kind, level, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        parts = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind == "Unified" and parts:
            unified.append((int(level), int(parts[1]) * _UNITS[parts[2]]))
    return max(unified)[1] if unified else None


def device_name(device: torch.device, facts: Path = CPU_FACTS) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", facts.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named[1].strip() if named else platform.processor() or platform.machine()


def machine(device: torch.device, threads: int) -> dict[str, object]:
    """Device, system and package versions, JSON-serialisable: equal on the same machine with the same software."""
    facts: dict[str, object] = {
        "device": device_name(device),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = None
    if device.type == "cuda":
        facts["cuda"] = torch.version.cuda
    return facts


def load() -> float:
    """Mean number of runnable programs over the last minute."""
    return round(os.getloadavg()[0], 2)
