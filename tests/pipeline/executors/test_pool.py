"""`pipeline.executors.pool`: the environment chooses the executor."""

from __future__ import annotations

import pytest

from pipeline.executors.pool import EXECUTOR, LOCAL, RAY, executor
from wina_amp.errors import UserError


@pytest.mark.parametrize(("given", "chosen"), [(None, LOCAL), ("", LOCAL), ("local", LOCAL), ("ray", RAY)])
def test_the_environment_chooses_and_local_is_the_default(
    given: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(EXECUTOR, raising=False)
    if given is not None:
        monkeypatch.setenv(EXECUTOR, given)
    assert executor() == chosen


@pytest.mark.tried("cluster", "refused")
@pytest.mark.parametrize("given", ["Ray", "dask", "ray,local"])
def test_an_unknown_executor_is_refused(given: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(EXECUTOR, given)
    with pytest.raises(UserError, match=f"executor must be one of {LOCAL}, {RAY}. Found: .{given}"):
        executor()
