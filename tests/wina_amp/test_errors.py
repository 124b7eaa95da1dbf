"""`wina_amp.errors`: an error says what must hold, what was found, where, and what to do."""

from __future__ import annotations

import pickle

import pytest

from wina_amp.errors import MOST_SHOWN, UserError, unknown


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(
    ("found", "shown"),
    [
        pytest.param("a\nb\r\nc", "Found: a b c. Where", id="several lines"),
        pytest.param("x" * 10**6, "x... (1000000 characters). Where", id="a million characters"),
        pytest.param("", "Found: . Where", id="nothing"),
        pytest.param(3.5, "Found: 3.5. Where", id="a number"),
        pytest.param("%s {0} $x", "Found: %s {0} $x. Where", id="templates"),
        pytest.param("a\udcff", r"Found: a\udcff. Where", id="a byte that is no UTF-8"),
    ],
)
def test_what_was_found_is_shown_in_one_line(found: object, shown: str):
    error = UserError("A must hold.", found=found, where="C", remedy="do D.")
    assert shown in str(error) and "\n" not in str(error) and len(str(error)) < MOST_SHOWN + 100
    assert str(error).encode()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error).endswith("What to do: do D.")


def test_an_error_is_one_paragraph_of_four_sentences():
    error = UserError("Targets must ascend.", found=[0.5, 0.4], where="params.yaml", remedy="sort them.")
    assert str(error) == "Targets must ascend. Found: [0.5, 0.4]. Where: params.yaml. What to do: sort them."


def test_an_error_of_a_worker_process_arrives_as_it_was():
    error = UserError("Targets must ascend", found=3, where="params.yaml", remedy="sort them")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.found == "3"


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    error = unknown("mask", "treshold", ("topk", "threshold"), "params.yaml")
    assert error.must == "The mask must be one of threshold, topk"
    assert error.remedy == "did you mean 'threshold'? choose a known one"
    assert unknown("mask", "xyz", ("topk",), "params.yaml").remedy == "choose a known one"


def test_a_name_that_nobody_has_is_refused_where_there_are_none():
    assert "The router must be one of (there are none). Found: 'x'" in str(unknown("router", "x", (), "params.yaml"))
