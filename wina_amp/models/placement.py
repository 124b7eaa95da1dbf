"""Placement of a model's weights: one device, or block after block onto all GPUs.

`spread` is transformers' `device_map="auto"`: blocks fill one GPU after the other, hidden states travel along, and one
GPU works at a time. It makes room, it does not make anything faster. Weights that fit no GPU would be left in main
memory and copied in for every forward pass; criteria need their columns and masks their device, so that is refused.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from wina_amp.errors import UserError, unknown
from wina_amp.names import CUDA, DEVICES, SPREAD

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_device(device: str) -> torch.device:
    """The device that token ids go to.

    `auto` is the GPU if there is one, else the CPU; for `spread` it is the first GPU, where the embeddings are.

    Raises:
        UserError: unknown name; `cuda` or `spread` without a GPU; `spread` without accelerate.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES, "`model.device`")
    has_gpu = torch.cuda.is_available()
    if device in (CUDA, SPREAD) and not has_gpu:
        raise UserError(
            f"`model.device: {device}` needs a GPU that PyTorch can use",
            found=f"none (torch {torch.__version__}{_visible()})",
            where="params.yaml",
            remedy="set `model.device: auto`, or install a CUDA build of PyTorch",
        )
    if device == SPREAD and importlib.util.find_spec("accelerate") is None:
        raise UserError(
            "`model.device: spread` needs the package accelerate, which places the blocks",
            found="it is not installed",
            where="the Python environment",
            remedy="install it (`pip install accelerate`), or set `model.device: cuda`",
        )
    return torch.device("cuda" if has_gpu and device != "cpu" else "cpu")


def _visible() -> str:
    """What hides GPUs, if the environment does."""
    name = "CUDA_VISIBLE_DEVICES"
    return f", {name}={os.environ[name]!r}" if name in os.environ else ""


def place(model: PreTrainedModel, device: str) -> torch.device:
    """Move a loaded model to its device, unless loading has already spread it; returns the device that token ids go to.

    Raises:
        UserError: a spread model that does not fit onto the GPUs.
    """
    if device != SPREAD:
        where = choose_device(device)
        model.to(where)  # pyright: ignore[reportArgumentType]
        return where
    refuse_offloading(getattr(model, "hf_device_map", {}))
    return model.get_input_embeddings().weight.device  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]


def refuse_offloading(device_map: Mapping[str, int | str | torch.device]) -> None:
    """Refuse a map from modules to devices in which a module is not on a GPU.

    Raises:
        UserError: names the first such module and counts them.
    """
    left = [name for name, where in device_map.items() if str(where) in ("cpu", "disk", "meta")]
    if left:
        raise UserError(
            "A model that is spread must fit into the memory of all GPUs together",
            found=f"{len(left)} of {len(device_map)} parts that do not, the first is {left[0]}",
            where="`model.device: spread`",
            remedy="use more or larger GPUs, a smaller `model.dtype`, or `model.device: cpu`",
        )
