"""Profile sets on the Hugging Face Hub: the folder of a repository that is fetched, and one that is uploaded.

A repository holds a set at its root, or several in subfolders. `HF_HUB_OFFLINE=1` looks at the cache alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from wina_amp.errors import UserError
from wina_amp.models.advice import first_line


def local_folder(
    path_or_repo: str | os.PathLike[str], *, revision: str | None = None, subfolder: str = "", token: str | None = None
) -> Path:
    """The folder of a profile set: a local one, or the snapshot of a repository, downloaded where it is not cached.

    Args:
        path_or_repo: a folder, or `owner/name` of a repository.
        revision: commit, tag or branch of the repository; None is its main branch.
        subfolder: where in the folder or repository the set lies.
        token: for a private repository; None takes the one of `hf auth login` or HF_TOKEN.

    Raises:
        UserError: neither a folder nor a repository; a subfolder that leads elsewhere; a repository or revision that
            does not exist, is not open to you, or can be neither found in the cache nor downloaded.
    """
    inside = Path(subfolder)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError("`subfolder` must lie in the folder", repr(subfolder), str(path_or_repo), "name a folder in it")
    if Path(path_or_repo).is_dir():
        return Path(path_or_repo) / inside
    repository, where = str(path_or_repo), f"{path_or_repo} at {revision or 'main'}"
    try:
        validate_repo_id(repository)
        patterns = [f"{inside.as_posix()}/*"] if subfolder else None
        folder = snapshot_download(repository, revision=revision, token=token, allow_patterns=patterns)
    except HFValidationError as error:
        must = "A profile set must be named by a folder or by `owner/name` of a repository on the hub"
        raise UserError(must, f"{repository!r}, which is neither", "`path_or_repo`", "correct the path") from error
    except LocalEntryNotFoundError as error:
        must = "A profile set of the hub must be in the local cache or be downloadable"
        found = f"nothing under {constants.HF_HUB_CACHE}, and the hub cannot be reached or must not be asked"
        raise UserError(must, found, where, "correct the name, or allow downloads (HF_HUB_OFFLINE=0)") from error
    except HfHubHTTPError as error:  # no such repository or revision, a private or gated one, a server's error
        must = "A profile set of the hub must be open to you"
        raise UserError(must, first_line(error), where, "correct the name; for a private one pass `token`") from error
    return Path(folder) / inside


def upload(
    folder: Path, repo_id: str, *, private: bool | None = None, token: str | None = None, message: str = ""
) -> str:
    """Make a repository, where there is none of this name, upload the folder's files, and return the commit's address.

    Raises:
        UserError: the name is none; you may not write there; the hub cannot be reached.
    """
    api = HfApi(token=token)
    try:
        repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message or None))
    except HFValidationError as error:
        raise UserError("A repository must be named `owner/name`", repr(repo_id), "`repo_id`", "correct it") from error
    except OSError as error:  # HTTP errors of the hub are OSErrors too
        must = "The repository must be writable, and the hub reachable"
        raise UserError(
            must, first_line(error), repo_id, "`hf auth login`, or pass a `token` that may write"
        ) from error
