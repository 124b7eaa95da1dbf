"""The folder of task files, `benchmark.include`: what lies in it must be files and folders.

DVC and lm-eval read all of it. Reading a pipe waits for ever, so this looks before anybody reads.
"""

from __future__ import annotations

import os
from pathlib import Path

from wina_amp.errors import UserError


def check_entries(folder: Path) -> None:
    """Refuse what is neither a file nor a folder, however deep it lies.

    Raises:
        UserError: a pipe, socket or device, or a link to nothing.
    """
    for inner, _, names in os.walk(folder):
        for path in (Path(inner, name) for name in names):
            if not path.is_file():
                found = (
                    f"a link to {path.readlink()}, which does not exist" if path.is_symlink() else "a pipe or device"
                )
                raise UserError(
                    "The folder of task files must hold files and folders only",
                    found=found,
                    where=str(path),
                    remedy="take it out of the folder",
                )
