"""`wina_amp.profile_set.description`: written and read back the same; what is incomplete is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.wina_amp.profile_set.sets import description
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.description import FORMAT, dumps, loads


@pytest.mark.parametrize("kind", [None, "embedding", "scores"])
def test_a_description_comes_back(tiny_loaded: LoadedModel, kind: str | None):
    written = description(tiny_loaded, 2, kind)
    text = dumps(written)
    assert loads(text, "here") == written
    assert dumps(loads(text, "here")) == text
    assert list(loads(text, "here").model.projections) == ["q", "k", "v", "o", "gate", "up", "down"]


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda values: values.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("targets"), r"must be complete\. Found: KeyError: 'targets'\. Where: there"),
        (_without("format"), r"must be complete\. Found: KeyError: 'format'"),
        (lambda values: values["model"].pop("digest"), "Found: TypeError: .*'digest'"),
        (lambda values: values["model"].update(projections=3), "Found: AttributeError"),
        (lambda values: values["measured"][0]["sparsity"].update(low="little"), "Found: ValueError: could not convert"),
        (lambda values: values["measured"].pop(), "Found: ValueError: 1 measurements of 2 targets"),
        (
            lambda values: values.update(format=FORMAT + 1),
            rf"must be of format {FORMAT}\. Found: format {FORMAT + 1}.*export it again",
        ),
    ],
)
def test_a_description_that_is_not_one_is_refused(
    tiny_loaded: LoadedModel, change: Callable[[dict[str, Any]], object], message: str
):
    values = json.loads(dumps(description(tiny_loaded, 2, "embedding")))
    change(values)
    with pytest.raises(UserError, match=message):
        loads(json.dumps(values), "there")


def test_a_cut_off_description_is_refused(tiny_loaded: LoadedModel):
    text = dumps(description(tiny_loaded, 1, None))
    with pytest.raises(UserError, match=r"must be complete\. Found: JSONDecodeError.*copy the folder again"):
        loads(text[: len(text) // 2], "there")
