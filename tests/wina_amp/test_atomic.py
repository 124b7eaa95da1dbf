"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from wina_amp.atomic import replacing
from wina_amp.errors import UserError


def test_nothing_is_seen_under_the_name_until_the_block_ends(tmp_path: Path):
    target = tmp_path / "deep" / "file"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new" and list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path: Path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_a_folder_completely(tmp_path: Path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "stale").touch()
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]


def test_a_full_disk_is_the_users_error_and_leaves_the_old_file(tmp_path: Path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(UserError, match="No space left on device") as caught, replacing(target) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert str(target) in str(caught.value) and "free disk space" in str(caught.value)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
