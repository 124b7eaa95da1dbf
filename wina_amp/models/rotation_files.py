"""Bases on disk, one safetensors file per block, and the rotation of a model by a folder of them.

Vectors are stored in float32, whatever the dtype of the model. That is half the disk of float64 (Llama-3-8B: 64 sites
of 64 MiB), and the error it makes is that of one float32 rounding, which any model's products make as well. Every stage
that runs the model rotates it by the same stored vectors: where singular values nearly agree, a second decomposition on
another machine might choose others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wina_amp.errors import RESTORE, UserError
from wina_amp.models.advice import first_line
from wina_amp.models.load import LoadedModel
from wina_amp.models.rotation import MODULES
from wina_amp.models.transform import Basis, rotate_block


def file_name(block: int) -> str:
    """The name of the file with the bases of a block."""
    return f"{block:05d}.safetensors"


def save_bases(bases: Mapping[str, Basis], path: str | os.PathLike[str]) -> None:
    """Write the bases of one block, by site; the same bases give the same bytes."""
    tensors = {f"{site}.vectors": basis.vectors.float().cpu().contiguous() for site, basis in bases.items()}
    tensors |= {f"{site}.values": basis.values.float().cpu().contiguous() for site, basis in bases.items()}
    save_file(tensors, path)


def load_bases(path: str | os.PathLike[str]) -> dict[str, Basis]:
    """The bases of one block, by site, in float32 on the CPU.

    Raises:
        UserError: no such file, damaged, or not the bases of a block.
    """
    try:
        tensors = load_file(path)
        return {site: Basis(tensors[f"{site}.vectors"], tensors[f"{site}.values"]) for site in MODULES}
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            "The rotations of every block must be readable",
            found=first_line(error),
            where=str(path),
            remedy=RESTORE,
        ) from error


def rotate_model(loaded: LoadedModel, folder: str | os.PathLike[str]) -> None:
    """Rotate every block of a model, in place, by the bases in `folder`; only one block's are in memory at a time.

    Raises:
        UserError: a block's file is missing or damaged, or belongs to other weights.
    """
    for block in range(len(loaded.layers)):
        rotate_block(loaded, block, load_bases(Path(folder) / file_name(block)))
