"""Every name that the settings know is implemented, under that name, and has a description."""

from __future__ import annotations

import pytest
import torch

from wina_amp import names

LISTS = {name: value for name, value in vars(names).items() if isinstance(value, dict) and name.isupper()}


@pytest.mark.parametrize("kind", LISTS)
def test_every_name_has_a_description_of_one_line(kind: str):
    assert all(text and "\n" not in text for text in LISTS[kind].values())


def test_names_are_those_of_the_registries():
    from wina_amp.decode.backends import BACKENDS
    from wina_amp.grouping.clustering import _ALGORITHMS
    from wina_amp.masks.kinds import MASKS
    from wina_amp.routing.prompt_router import KINDS
    from wina_amp.scoring.criteria import CRITERIA

    assert CRITERIA.keys() == names.CRITERIA.keys()
    assert MASKS.keys() == names.MASKS.keys()
    assert KINDS.keys() == names.ROUTER_KINDS.keys()
    assert BACKENDS.keys() == names.BACKENDS.keys()
    assert _ALGORITHMS.keys() == names.ALGORITHMS.keys()
    assert all(getattr(torch, name).is_floating_point for name in names.DTYPES)


def test_criteria_of_the_gate_are_those_that_do_not_read_the_input():
    from wina_amp.models.families import INPUT
    from wina_amp.scoring.criteria import CRITERIA

    assert set(names.GATE_CRITERIA) == {name for name, row in CRITERIA.items() if row.reads != INPUT}


def test_kinds_of_schemes_are_schemes_and_no_transform_is_the_first():
    kinds = (names.LEARNED_SCHEMES, names.LABEL_SCHEMES, names.RANDOM_SCHEMES, names.GRADIENT_SCHEMES)
    assert all(set(kind) <= names.SCHEMES.keys() for kind in kinds)
    assert next(iter(names.TRANSFORMS)) == names.NO_TRANSFORM
