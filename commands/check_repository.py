"""Whether DVC can work here: in a Git repository that can be written, with a name for the commits of experiments."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from wina_amp.errors import UserError

WRITTEN = (".", "data", ".dvc")
"""Folders that DVC and the stages write into."""


def check_repository(root: Path, *, has_experiments: bool = False) -> None:
    """Refuse a repository where DVC would stop with an error of its own; with experiments it also commits.

    Raises:
        UserError: no Git, no repository, a folder that cannot be written, or no name and address for commits.
    """
    if shutil.which("git") is None:
        raise UserError(
            "DVC needs git", found="no program `git`", where="PATH", remedy="install it, or add its folder to PATH"
        )
    if not _git(root, "rev-parse", "--git-dir"):
        raise UserError(
            "The folder must be a Git repository, because DVC works in one",
            found="no `.git`",
            where=str(root),
            remedy="clone the repository instead of copying its files, or `git init && git add --all` here",
        )
    for folder in (root / name for name in WRITTEN):
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise UserError(
                "Results must be writable",
                found="a folder that cannot be written",
                where=str(folder),
                remedy="correct its owner and permissions, or clone the repository to another disk",
            )
    lacking = [name for name in ("user.name", "user.email") if has_experiments and not _git(root, "config", name)]
    if lacking:
        raise UserError(
            "Git must know your name and address, because DVC commits every experiment",
            found=f"no {' and no '.join(lacking)}",
            where="the configuration of Git",
            remedy="; ".join(f"`git config {name} <yours>`" for name in lacking),
        )


def _git(root: Path, *arguments: str) -> str:
    """What Git answers there; nothing where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()
