"""Values become frozen dataclasses; every kind of mistake is one error with the rule, what was found, where and what
to do; rules have words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Annotated, Any

import pytest
from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.kinds import SECTION, Fraction, Many, Name, OneOf
from pipeline.config.validation import Schema, validated
from wina_amp.errors import UserError


@dataclass(frozen=True, config=SECTION)
class Tree:
    """A plant."""

    height: StrictFloat = Field(gt=0, le=100, description="metres")
    leaves: Annotated[StrictStr, OneOf({"needles": "", "broad": ""})] | None = Field(description="kind of leaves")


@dataclass(frozen=True, config=SECTION)
class Forest:
    """All of the file."""

    trees: Mapping[Name, Tree] = Field(description="by name")
    first: Tree | None = Field(description="the first")
    span: tuple[StrictInt, StrictInt] = Field(description="from, to")
    fractions: Many[Fraction] | None = Field(description="some")
    prefix: StrictInt | Annotated[StrictFloat, Field(ge=0, lt=1)] = Field(description="a number or a fraction")


GOOD: dict[str, Any] = {
    "trees": {"oak": {"height": 20, "leaves": "broad"}},
    "first": None,
    "span": [1, 2],
    "fractions": [0.5],
    "prefix": 3,
}


def test_lists_become_tuples_and_whole_numbers_numbers_where_the_type_says_so():
    forest = validated(Forest, GOOD, "file")
    assert forest.span == (1, 2) and isinstance(forest.trees["oak"].height, float) and isinstance(forest.prefix, int)
    with pytest.raises(FrozenInstanceError):
        forest.span = (2, 3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frist": None}, r"section must be one of .* Found: 'frist'\. Where: file\. .* mean 'first'"),
        ({"trees": []}, r"`trees` must be a section of `key: value` settings\. Found: \[\]\. Where: `trees` in file"),
        ({"trees": {"oak": 3}}, r"`trees\.oak` must be a section"),
        ({"trees": {"an oak": GOOD["trees"]["oak"]}}, r"Names in `trees` must be letters.* Found: 'an oak'"),
        ({"trees": {3: GOOD["trees"]["oak"]}}, r"Names in `trees` must be letters.* Found: 3"),
        ({"trees": {"oak": {}}}, r"Section `trees\.oak` must have the settings .* Found: no height, leaves"),
        ({"trees": {"oak": {"hieght": 3, "leaves": None}}}, r"in `trees\.oak` .* did you mean 'height'"),
        ({"first": {"height": 101, "leaves": None}}, r"`first\.height` must be a number above 0 and at most 100\. F"),
        ({"first": {"height": float("nan"), "leaves": None}}, r"`first\.height` must be a number .* Found: nan"),
        ({"first": {"height": 1, "leaves": "board"}}, r"`first\.leaves` must be one of .* did you mean 'broad'"),
        ({"first": {"height": 1, "leaves": 3}}, r"`first\.leaves` must be one of needles, broad or null\. Found: 3"),
        ({"span": [1]}, r"`span` must be a list of whole numbers with 2 entries"),
        ({"span": [1, 2, 3]}, r"`span` must be a list of whole numbers with 2 entries"),
        ({"span": [1, True]}, r"`span\[1\]` must be a whole number\. Found: True"),
        ({"fractions": []}, r"`fractions` must be a list of numbers above 0 and below 1 with at least 1 entry or null"),
        ({"fractions": [0.5, 0.5]}, r"`fractions` must name every entry once\. Found: 0\.5 repeated"),
        ({"prefix": 1.5}, r"`prefix` must be a whole number or a number at least 0 and below 1\. Found: 1\.5"),
    ],
)
def test_a_mistake_is_named_with_the_rule_and_its_place(change: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message) as caught:
        validated(Forest, GOOD | change, "file")
    assert caught.value.where.endswith("file") and caught.value.remedy


@pytest.mark.parametrize("values", ["text", None, [GOOD], {1: 2}])
def test_what_is_no_mapping_of_settings_is_refused(values: object):
    with pytest.raises(UserError, match="file"):
        validated(Forest, values, "file")


def test_types_and_bounds_have_words():
    schema = Schema(Forest)
    rules = {name: schema.rule(node) for name, node in schema.root["properties"].items()}
    assert (rules["fractions"].type, rules["fractions"].limits) == ("a list of numbers or null", "above 0 and below 1")
    assert (rules["trees"].type, rules["first"].type) == ("a section", "a section or null")
