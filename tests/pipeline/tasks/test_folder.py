"""`pipeline.tasks.folder`: nothing in the folder of task files makes a reader wait or stumble."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.tasks.folder import check_entries
from pipeline.tasks.loading import load_tasks
from wina_amp.errors import UserError


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize("name", ["pick.jsonl", "pick.yaml", "more/data.csv"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_is_no_file_is_refused_before_anybody_reads_it(tmp_path: Path, make: Callable[[Path], object], name: str):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    for read in (check_entries, lambda folder: load_tasks(folder, ["pick"])):
        with pytest.raises(UserError, match=rf"files and folders only.*{name}"):
            read(tmp_path)


def test_files_folders_and_links_to_them_pass(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("a")
    (tmp_path / "b.txt").symlink_to("inner/a.txt")
    (tmp_path / "other").symlink_to("inner")
    check_entries(tmp_path)
