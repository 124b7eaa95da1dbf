"""The folder of a profile set: description, tensors, card, and the bases of a rotated model.

profile_set.json        the description (`wina_amp/profile_set/description.py`), with the SHA-256 of the tensors
profiles.safetensors    thresholds [targets, groups, blocks, projections], the sketch of the model's weights, the
                        router, learned feature weights
rotations/              only for a model with rotated inputs (`model.transform`)
README.md               the card, written from the description (`wina_amp/profile_set/card.py`)
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from wina_amp.atomic import replacing
from wina_amp.profile_set.card import card
from wina_amp.profile_set.description import Description, damaged, dumps, loads

DESCRIPTION, TENSORS, CARD, ROTATIONS = "profile_set.json", "profiles.safetensors", "README.md", "rotations"


def read(folder: Path) -> tuple[Description, dict[str, Tensor]]:
    """The description and the tensors in `folder`.

    Raises:
        UserError: a file is missing, damaged, of another format, or the tensors are not those that are described.
    """
    description = loads(_bytes(folder / DESCRIPTION).decode(errors="replace"), str(folder / DESCRIPTION))
    content = _bytes(folder / TENSORS)
    if hashlib.sha256(content).hexdigest() != description.tensors:
        actual = f"{len(content):,} bytes with another SHA-256"
        raise damaged(f"The tensors must be those that {DESCRIPTION} describes", actual, folder / TENSORS)
    try:
        return description, load_tensors(content)
    except SafetensorError as error:
        raise damaged("The tensors must be a safetensors file", str(error), folder / TENSORS) from error


def write(
    folder: str | os.PathLike[str],
    description: Description,
    tensors: Mapping[str, Tensor],
    rotations: str | os.PathLike[str] | None,
) -> None:
    """Write the folder, atomically, with the same bytes every time; an existing folder is replaced.

    Args:
        folder: the folder.
        description: its field `tensors` is set to the SHA-256 of the tensors.
        tensors: by name.
        rotations: folder with the bases of a rotated model's inputs, copied into it.
    """
    content = save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()})
    description = replace(description, tensors=hashlib.sha256(content).hexdigest())
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / TENSORS).write_bytes(content)
        (temporary / DESCRIPTION).write_text(dumps(description), encoding="utf-8")
        (temporary / CARD).write_text(card(description), encoding="utf-8")
        if rotations is not None:
            shutil.copytree(rotations, temporary / ROTATIONS)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged("A profile set must have all of its files", error.strerror or str(error), path) from error
