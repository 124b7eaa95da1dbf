"""`wina_amp.profile_set.hub`: folders, the hub's cache layout, uploads, and what a user gets wrong with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set import hub
from wina_amp.profile_set.hub import local_folder
from wina_amp.profile_set.profile_set import ProfileSet

COMMIT = "62bd457b6fe961a42a631306577e622c83876cb6"
REPOSITORY = "owner/sets"


@pytest.fixture
def cached(tiny_loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot in the hub's cache layout, with one set at the root and one in a subfolder; the hub is offline."""
    repository = tmp_path / "hub" / "models--owner--sets"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    profile_set(tiny_loaded).save_pretrained(snapshot)
    profile_set(tiny_loaded, None).save_pretrained(snapshot / "pooled")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_cached_repository_is_read_like_a_folder(cached: Path, revision: str | None):
    fetched = ProfileSet.from_pretrained(REPOSITORY, revision=revision)
    assert torch.equal(fetched.thresholds, ProfileSet.from_pretrained(cached).thresholds)
    assert ProfileSet.from_pretrained(REPOSITORY, revision=revision, subfolder="pooled").router is None
    assert ProfileSet.from_pretrained(cached, subfolder="pooled").router is None


@pytest.mark.parametrize(
    ("named", "options", "message"),
    [
        ("no/such/folder", {}, r"must be named by a folder or by `owner/name`.*'no/such/folder', which is neither"),
        ("owner/other", {}, r"in the local cache or be downloadable\. Found: nothing under .*hub.*owner/other at main"),
        (REPOSITORY, {"revision": "0" * 40}, r"owner/sets at 00000000"),
        (REPOSITORY, {"subfolder": "greedy"}, r"must have all of its files.*greedy.profile_set\.json"),
        (REPOSITORY, {"subfolder": "../x"}, r"`subfolder` must lie in the folder\. Found: '\.\./x'"),
    ],
    ids=["a path", "not cached", "an unknown revision", "an unknown subfolder", "a subfolder elsewhere"],
)
def test_what_is_not_there_is_refused(cached: Path, named: str, options: dict[str, str], message: str):
    with pytest.raises(UserError, match=message):
        ProfileSet.from_pretrained(named, **options)


def test_a_repository_that_is_not_open_to_you_is_refused(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object, **_options: object) -> str:
        response: Any = SimpleNamespace(headers={}, request=None, status_code=404)
        raise RepositoryNotFoundError("no such repository", response=response)

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=r"must be open to you\. Found: .*no such repository.*pass `token`"):
        local_folder(REPOSITORY)


def test_a_set_is_uploaded_with_its_card(tiny_loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: dict[str, object] = {}

    def create_repo(_api: HfApi, repo_id: str, **options: object) -> SimpleNamespace:
        said["made"] = (repo_id, options)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(api: HfApi, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        said["files"] = {file.name: file.read_bytes() for file in folder_path.iterdir()}
        said["commit"] = (api.token, repo_id, commit_message)
        return "https://hub/commit"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    made = profile_set(tiny_loaded)
    assert made.push_to_hub(REPOSITORY, private=True, token="secret") == "https://hub/commit"
    made.save_pretrained(tmp_path / "set")
    assert said["files"] == {file.name: file.read_bytes() for file in (tmp_path / "set").iterdir()}
    assert said["made"] == (REPOSITORY, {"private": True, "exist_ok": True})
    assert said["commit"] == ("secret", REPOSITORY, "Profile set made_up")


def test_an_upload_that_fails_says_what_to_do(tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("401 Client Error\nmore")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(UserError, match=r"must be writable, and the hub reachable\. Found: 401 Client Error\. "):
        profile_set(tiny_loaded).push_to_hub(REPOSITORY)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"must be named `owner/name`\. Found: 'a/b/c'"):
        profile_set(tiny_loaded).push_to_hub("a/b/c")
