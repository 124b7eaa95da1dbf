"""Find a checkpoint's files: in a folder of the user's, or in a snapshot of a hub repository in the local cache.

Everything after this module reads a folder, so a hub checkpoint and a local one go through the same checks and the
same code. A hub repository needs a pinned revision, because results could not be repeated without one. Only
configuration, tokenizer and safetensors files are fetched: no pickles, no second copy of the weights in another format,
and Python code only where `model.remote_code` asks for it.

With `HF_HUB_OFFLINE=1` only the cache under `HF_HOME` is looked at.
"""

from __future__ import annotations

import errno
import re
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from wina_amp.errors import UserError
from wina_amp.models.advice import GGUF, first_line, folder_error, remedy_for, whereabouts

WANTED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
UNWANTED = ("original/*", "consolidated*", "*/*")
"""Copies of the weights in another layout, which some repositories carry beside the layout that transformers reads."""

CONFIG = "config.json"

CODE = "*.py"
"""Modules that a checkpoint brings along; wanted only with `model.remote_code`."""

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
ONLINE = "allow downloads (`make repro HF_HUB_OFFLINE=0 HF_DATASETS_OFFLINE=0`), or fill the cache under HF_HOME"
"""What to do where something of the hub is not on this machine."""


def model_folder(path: str | Path, revision: str | None, *, remote_code: bool = False) -> Path:
    """The folder with a checkpoint's files; downloads what is missing where the network may be used.

    Args:
        path: a folder, or a hub id (`organisation/name`).
        revision: commit, tag or branch of a hub repository; ignored for a folder.
        remote_code: whether the Python files of a hub repository are fetched as well.

    Raises:
        UserError: neither a folder nor a hub id; a hub id without revision; a repository or revision that does not
            exist, is gated, is not in the cache while offline, or cannot be stored.
    """
    return _folder(path, revision, _patterns(remote_code))


def cached_folder(path: str | Path, revision: str | None, *, remote_code: bool = False) -> Path | None:
    """The folder with the files of a checkpoint that are on this machine, perhaps not all; None where there are none.

    None, too, where `path` is no checkpoint. Never uses the network.
    """
    if Path(path).is_dir():
        return Path(path)
    if not _HUB_ID.match(str(path)):
        return None
    try:
        folder = snapshot_download(
            str(path),
            revision=revision,
            allow_patterns=_patterns(remote_code),
            ignore_patterns=list(UNWANTED),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def config_folder(path: str | Path, revision: str | None) -> Path:
    """A folder with the checkpoint's config.json, perhaps nothing else.

    Raises:
        UserError: as `model_folder`; there is no config.json.
    """
    folder = _folder(path, revision, [CONFIG])
    if not (folder / CONFIG).is_file():
        raise folder_error(f"have a {CONFIG}", whereabouts(folder / CONFIG), folder, remedy_for(folder))
    return folder


def checkpoint_files(folder: Path, *, remote_code: bool = False) -> dict[str, Path]:
    """The files of the checkpoint in `folder` that loading may read, by name, in the order of the names.

    Files of the same kinds as are fetched from the hub, whatever else lies there. A snapshot of the hub's cache
    consists of links; a link whose file is gone is no file.

    Raises:
        UserError: there is none.
    """
    files = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and any(fnmatch(path.name, pattern) for pattern in _patterns(remote_code))
        and not any(fnmatch(path.name, pattern) for pattern in UNWANTED)
    }
    if not files:
        raise folder_error("hold a checkpoint's files", f"none of {', '.join(WANTED)}", folder, remedy_for(folder))
    return files


def _folder(path: str | Path, revision: str | None, patterns: list[str]) -> Path:
    if Path(path).is_dir():
        return Path(path)
    if Path(path).exists():
        must = "`model.path` must be the folder of a checkpoint (config.json, model*.safetensors, tokenizer.json)"
        remedy = GGUF if str(path).endswith(".gguf") else f"set `model.path` to its folder, {Path(path).parent}"
        raise UserError(must, "a file", str(path), remedy)
    if str(path).startswith(("http://", "https://")):
        must = "`model.path` must be an existing folder or a hub id (`organisation/name`)"
        raise UserError(
            must, "an address", str(path), "write the hub id, the last two names of the repository's address"
        )
    if not _HUB_ID.match(str(path)):
        remedy = "run `dvc pull` or `git checkout` to restore the folder, or correct `model.path` in params.yaml"
        must = "`model.path` must be an existing folder or a hub id (`organisation/name`)"
        raise UserError(must, f"{str(path)!r}, which is neither", "params.yaml", remedy)
    if revision is None:
        must = "`model.path` must be an existing folder, or a hub id together with `model.revision`"
        remedy = "correct the folder, or set `model.revision` to the commit of the hub repository"
        raise UserError(must, f"{str(path)!r}, which is no folder, and no revision", "params.yaml", remedy)
    return _snapshot(str(path), revision, patterns)


def _patterns(remote_code: bool) -> list[str]:
    return [*WANTED, CODE] if remote_code else list(WANTED)


def _snapshot(repository: str, revision: str, patterns: list[str]) -> Path:
    where = f"{repository} at {revision}"
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=patterns, ignore_patterns=list(UNWANTED)
        )
    except GatedRepoError as error:
        remedy = f"accept its terms at {constants.ENDPOINT}/{repository}, then `hf auth login` or set HF_TOKEN"
        raise UserError("The hub repository must be open to you", "a gated repository", where, remedy) from error
    except RevisionNotFoundError as error:
        remedy = "set `model.revision` to a commit listed on the repository's page"
        raise UserError(
            "`model.revision` must be a revision of the repository", "no such revision", where, remedy
        ) from error
    except RepositoryNotFoundError as error:
        remedy = "correct `model.path`; for a private repository `hf auth login` or set HF_TOKEN"
        raise UserError(
            "The hub repository must exist", "no such repository, or a private one", where, remedy
        ) from error
    except LocalEntryNotFoundError as error:
        nothing = f"nothing under {constants.HF_HUB_CACHE}, and the hub cannot be reached or must not be asked"
        raise UserError(
            "A hub checkpoint must be in the local cache or be downloadable", nothing, where, ONLINE
        ) from error
    except OSError as error:  # HTTP errors of the hub are OSErrors too
        is_full = error.errno == errno.ENOSPC
        remedy = f"free space under {constants.HF_HUB_CACHE} and run again; finished files are kept"
        raise UserError(
            "The hub checkpoint must be downloadable",
            first_line(error),
            where,
            remedy if is_full else "run again; finished files are kept",
        ) from error
    return Path(folder)
