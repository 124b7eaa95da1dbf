"""What moves the numbers of a part besides code, data and settings: libraries, threads, and the device.

Parts outlive an upgrade of the environment, and `device: auto` is another device on another machine.
"""

from __future__ import annotations

import os
import platform
import runpy
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from wina_amp.names import CPU, SPREAD

LIBRARIES = (
    "torch", "transformers", "tokenizers", "accelerate", "lm_eval", "datasets",
    "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "numba", "triton",
)  # fmt: skip


GPU = "WINA_AMP_GPU"
"""Environment variable: the GPUs of a worker on a Ray cluster, `H100` or `H100:2` (`stages/inputs/workers.py`)."""


def environment(device: str) -> dict[str, str]:
    """Everything of the kind as names and values, where `model.device` is `device`."""
    versions = {name: _version(name) for name in LIBRARIES}
    threads = os.environ.get("OMP_NUM_THREADS") or "1"
    return {**versions, "python": platform.python_version(), "threads": threads, "device": _resolved(device)}


def has_gpu() -> bool:
    """Whether PyTorch finds a GPU. A build for CPUs finds none, which its version file says: importing PyTorch takes a
    second, and processes that hand out work need nothing else of it."""
    build = runpy.run_path(str(Path(str(find_spec("torch").origin)).with_name("version.py")))  # pyright: ignore[reportOptionalMemberAccess]
    if build["cuda"] is None and build["hip"] is None:
        return False
    import torch

    return torch.cuda.is_available()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _resolved(device: str) -> str:
    """`cpu`, or the names of the GPUs that the model lies on; on a cluster as the environment names them."""
    if device == CPU:
        return CPU
    if os.environ.get("WINA_AMP_EXECUTOR") == "ray":  # the driver's machine needs no GPU
        return os.environ.get(GPU) or CPU
    if not has_gpu():
        return CPU
    import torch

    used = torch.cuda.device_count() if device == SPREAD else 1
    return ", ".join(torch.cuda.get_device_name(number) for number in range(used))
