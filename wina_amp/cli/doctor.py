"""`wina-amp doctor`: versions, devices, backends, the hub and caches of this machine.

Nothing is downloaded and the hub is not asked. A token is only said to be there, never shown.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, get_token

from wina_amp.cli.output import show_table
from wina_amp.decode.backends import BACKENDS, Call

PACKAGES = ("wina-amp", "torch", "transformers", "huggingface_hub", "safetensors", "numba", "triton", "lm_eval", "gguf")


def facts() -> dict[str, Any]:
    """All of it, by section."""
    devices = list(_devices())
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "devices": devices,
        "backends": [
            {"backend": name, "device": device["device"], "dtype": dtype, "needs": row.refusal(_call(device, dtype))}
            for device in devices
            for dtype in ("float32", "bfloat16")
            for name, row in BACKENDS.items()
        ],
        "hub": {
            "address": constants.ENDPOINT,
            "offline": bool(constants.HF_HUB_OFFLINE),
            "token": get_token() is not None,
            "cache": constants.HF_HUB_CACHE,
            "cache is writable": _is_writable(Path(constants.HF_HUB_CACHE)),
        },
    }


def show(facts: Mapping[str, Any]) -> None:
    """Write `facts` as tables."""
    versions = [(name, installed or "not installed") for name, installed in facts["versions"].items()]
    show_table("Versions", ("package", "version"), versions)
    show_table("Devices", ("device", "what"), [(row["device"], row["name"]) for row in facts["devices"]])
    backends = [
        (row["backend"], row["device"], row["dtype"], "runs" if row["needs"] is None else f"needs {row['needs']}")
        for row in facts["backends"]
    ]
    show_table("Backends of sparse decoding", ("backend", "device", "dtype", ""), backends)
    show_table("Hub", ("", ""), [(name, _said(value)) for name, value in facts["hub"].items()])


def _devices() -> Iterator[dict[str, str]]:
    yield {"device": "cpu", "name": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    for number in range(torch.cuda.device_count()):
        yield {"device": "cuda", "name": torch.cuda.get_device_name(number)}


def _call(device: Mapping[str, str], dtype: str) -> Call:
    return Call(device["device"], getattr(torch, dtype), tokens=1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_writable(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def _said(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
