"""`wina_amp.errors`: an error says what must hold, what was found, where, and what to do."""

from __future__ import annotations

import pickle

from wina_amp.errors import UserError, unknown


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
