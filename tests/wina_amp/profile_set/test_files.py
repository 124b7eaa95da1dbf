"""`wina_amp.profile_set.files`: a folder is replaced as a whole, and damage is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.files import DESCRIPTION, TENSORS, read


def test_rotations_are_copied_and_an_existing_folder_is_replaced(tiny_loaded: LoadedModel, tmp_path: Path):
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "00000.safetensors").write_bytes(b"basis")
    made = profile_set(tiny_loaded)
    replace(made, rotations=tmp_path / "bases").save_pretrained(tmp_path / "set")
    assert (tmp_path / "set" / "rotations" / "00000.safetensors").read_bytes() == b"basis"
    made.save_pretrained(tmp_path / "set")
    assert not (tmp_path / "set" / "rotations").exists()


def test_damaged_and_missing_files_are_refused(tiny_loaded: LoadedModel, tmp_path: Path):
    folder = tmp_path / "set"
    profile_set(tiny_loaded).save_pretrained(folder)
    whole = {name: (folder / name).read_bytes() for name in (DESCRIPTION, TENSORS)}
    flipped = whole[TENSORS][:-1] + bytes([whole[TENSORS][-1] ^ 1])
    for name, content, message in (
        (
            DESCRIPTION,
            None,
            r"must have all of its files\. Found: No such file or directory\. Where: .*profile_set\.json",
        ),
        (TENSORS, None, r"must have all of its files\. .*profiles\.safetensors"),
        (DESCRIPTION, whole[DESCRIPTION][:300], r"description of a profile set must be complete"),
        (DESCRIPTION, b"\xff\xfe", r"description of a profile set must be complete"),
        (
            TENSORS,
            whole[TENSORS][:100],
            r"must be those that profile_set\.json describes\. Found: 100 bytes with another",
        ),
        (TENSORS, flipped, r"must be those that profile_set\.json describes.*copy the folder again"),
    ):
        for file, text in whole.items():
            (folder / file).write_bytes(text)
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            read(folder)
