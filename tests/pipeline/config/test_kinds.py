"""Names, numbers and fractions of settings: what DVC puts into paths, and what a computer can count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.config import params
from pipeline.config.params import Settings, load
from pipeline.config.validation import Schema, validated
from tests.settings import PARAMS, full_text
from wina_amp.errors import UserError

NAMED = ("profiles", "methods", "route.routers", "route.benefit_routers")
"""Sections whose keys are names of the user's choice."""


SETTINGS: dict[str, Any] = YAML(typ="safe").load(full_text())


def values() -> dict[str, Any]:
    return deepcopy(SETTINGS)


def section(inside: dict[str, Any], path: str) -> dict[str, Any]:
    for key in path.split("."):
        inside = inside[key]
    return inside


NAMES = [
    pytest.param("x; touch f", id="a second command"),
    pytest.param("$(touch f)", id="a command in $( )"),
    pytest.param("`touch f`", id="a command in backquotes"),
    pytest.param("x' ; touch f; '", id="a quote"),
    pytest.param('x" ; touch f; "', id="a double quote"),
    pytest.param("x\ntouch f", id="a line break"),
    pytest.param("x\n", id="a line break at its end"),
    pytest.param("../../docs", id="the parent folder"),
    pytest.param("..", id="two dots"),
    pytest.param("/tmp/x", id="an absolute path"),
    pytest.param("a/b", id="a slash"),
    pytest.param("a\\b", id="a backslash"),
    pytest.param(".hidden", id="a leading dot"),
    pytest.param("a.b", id="a dot"),
    pytest.param("-x", id="a leading dash"),
    pytest.param("a@b", id="DVC's @"),
    pytest.param("${seed}", id="DVC's template"),
    pytest.param("my set", id="a space"),
    pytest.param("", id="nothing"),
    pytest.param("schöne", id="an umlaut"),
    pytest.param("аll", id="a Cyrillic letter that looks Latin"),
    pytest.param("²", id="a digit that is not of ASCII"),
    pytest.param("x" * 65, id="65 characters"),
    pytest.param("x\x00", id="NUL"),
    pytest.param("~", id="a tilde"),
    pytest.param("*", id="an asterisk"),
]


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_more_than_a_word_is_refused_wherever_names_are_chosen(name: str):
    for path in NAMED:
        changed = values()
        inside = section(changed, path)
        inside[name] = next(iter(inside.values()))
        with pytest.raises(UserError, match=f"Names in `{path}` must be letters, digits"):
            validated(Settings, changed, "params.yaml")


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize("name", [pytest.param(1, id="1 without quotes"), pytest.param(True, id="true without quotes")])
def test_a_name_that_yaml_takes_for_something_else_is_refused(name: object):
    changed = values()
    changed["methods"][name] = changed["methods"]["kl"]
    with pytest.raises(UserError, match="put it in quotes"):
        validated(Settings, changed, "params.yaml")


@pytest.mark.tried("names", "right")
@pytest.mark.parametrize("name", ["a", "A", "7", "kl-8_groups", "x" * 64])
def test_an_ordinary_name_is_taken(name: str):
    changed = values()
    changed["methods"][name] = changed["methods"]["kl"]
    assert name in validated(Settings, changed, "params.yaml").methods


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        pytest.param("methods", "kl", "KL", id="two methods"),
        pytest.param("methods", "kl", "Dense", id="a method and dense"),
        pytest.param("profiles", "greedy", "Greedy", id="two profile sets"),
        pytest.param("route.routers", "embedding", "Embedding", id="two routers"),
        pytest.param("route.benefit_routers", "benefit", "Embedding", id="a benefit router and a router"),
    ],
)
def test_names_that_differ_in_capitals_alone_are_refused(tmp_path: Path, path: str, first: str, second: str):
    changed = values()
    section(changed, path)[second] = section(changed, path)[first]
    with pytest.raises(UserError, match=f"must differ in more than capitals.* Found: .*{second}"):
        load(written(tmp_path, changed))


def written(folder: Path, changed: object) -> Path:
    YAML(typ="safe").dump(changed, folder / params.PARAMS)
    return folder / params.PARAMS


def numbers(inside: object, path: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """The places of all numbers in the settings."""
    if isinstance(inside, Mapping):
        entries: Any = inside.items()
    else:
        entries = enumerate(inside) if isinstance(inside, list) else ()
    for key, value in entries:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, key)
        yield from numbers(value, (*path, key))


NUMBERS = [*numbers(values()), ("latency", "cache_mb"), ("benchmark", "num_fewshot")]


def test_every_number_has_a_least_and_a_most():
    schema = Schema(Settings)
    for path in NUMBERS:
        node, _ = schema.at(path)
        options = [option for option in node.get("anyOf", [node]) if option.get("type") != "null"]
        for option in options:
            assert {"minimum", "exclusiveMinimum"} & option.keys(), path
            assert {"maximum", "exclusiveMaximum"} & option.keys(), path


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(float("inf"), id="infinity"),
        pytest.param(float("-inf"), id="minus infinity"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(-1, id="-1"),
        pytest.param(-0.5, id="-0.5"),
        pytest.param(10**12, id="10^12"),
        pytest.param(10**400, id="10^400"),
        pytest.param(1e300, id="1e300"),
        pytest.param(True, id="true"),
        pytest.param("3", id="a number in quotes"),
        pytest.param(1 << 20000, id="2^20000"),
        pytest.param([3], id="a list"),
        pytest.param({"a": 3}, id="a section"),
    ],
)
def test_a_number_that_is_none_or_out_of_bounds_is_refused_in_every_setting(number: object):
    for path in NUMBERS:
        changed = values()
        inside: Any = changed
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = number
        with pytest.raises(UserError, match="must be") as caught:
            validated(Settings, changed, "params.yaml")
        assert str(path[0]) in caught.value.where, path
        assert len(str(caught.value)) < 1000


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "text",
    [".inf", "-.inf", ".nan", "1e400", "0.0", "1e", "'0.05'", pytest.param("9" * 5000, id="5000 digits")],
)
def test_a_rate_that_yaml_does_not_read_as_a_number_in_bounds_is_refused(tmp_path: Path, text: str):
    file = tmp_path / params.PARAMS
    file.write_text(re.sub(r"kl_rate: \S+", f"kl_rate: {text}", PARAMS.read_text()))
    with pytest.raises(UserError, match=r"kl_rate|digits"):
        load(file)


@pytest.mark.tried("errors", "right")
def test_a_whole_number_is_a_number():
    changed = values()
    changed["allocate"]["kl_rate"] = 1
    assert validated(Settings, changed, "params.yaml").allocate.kl_rate == 1.0


@pytest.mark.tried("errors", "refused")
def test_targets_that_would_share_the_name_of_a_part_are_refused():
    changed = values()
    changed["evaluate"]["targets"] = [0.5, 0.5000001]
    with pytest.raises(UserError, match=r"`evaluate\.targets\[1\]` must have at most six significant digits"):
        validated(Settings, changed, "params.yaml")


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\x00", id="bytes that are no UTF-8"),
        pytest.param(b"seed: [1", id="an open bracket"),
        pytest.param(b"seed: 0\nseed: 1\n", id="a key twice"),
        pytest.param(b"\tseed: 0\n", id="a tab"),
        pytest.param(b"seed: 0\n---\nseed: 1\n", id="two documents"),
        pytest.param(b"seed: &a [*a]\n", id="a list in itself"),
        pytest.param(b"seed: " + b"[" * 5000 + b"]" * 5000, id="5000 brackets"),
        pytest.param(b"seed: !!python/object:os.system x\n", id="a Python tag"),
        pytest.param(b"- 1\n- 2\n", id="a list"),
        pytest.param(b"just text", id="text"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / params.PARAMS).write_bytes(content)
    with pytest.raises(UserError, match=r"params\.yaml") as caught:
        load(tmp_path / params.PARAMS)
    assert len(str(caught.value)) < 1000


@pytest.mark.tried("errors", "refused")
def test_a_folder_in_place_of_the_settings_file_is_refused(tmp_path: Path):
    (tmp_path / params.PARAMS).mkdir()
    with pytest.raises(UserError, match="must be readable"):
        load(tmp_path / params.PARAMS)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("text", [pytest.param("", id="nothing"), pytest.param("a\nb", id="two lines"), "a\x00b"])
def test_paths_and_tasks_are_one_line_of_text(text: str):
    for path, key in (("model", "path"), ("model", "revision"), ("benchmark", "include")):
        changed = values()
        changed[path][key] = text
        with pytest.raises(UserError, match=f"`{path}.{key}` must be one line of text"):
            validated(Settings, changed, "params.yaml")
    changed = values()
    changed["benchmark"]["tasks"].append(text)
    with pytest.raises(UserError, match="must be one line of text"):
        validated(Settings, changed, "params.yaml")


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize("folder", [".", "..", "/", "data", "data/", "data/benchmark/..", "./data/../data/../"])
def test_a_folder_of_tasks_does_not_hold_what_stages_write(tmp_path: Path, folder: str):
    changed = values()
    changed["benchmark"]["include"] = folder
    with pytest.raises(UserError, match="not one with results or the repository in it"):
        load(written(tmp_path, changed))
