"""`pipeline.storage.records`: values come back from their places, in any order, also in another process."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.executors.ray_worker import DriverObjects, from_bytes, result_of
from pipeline.storage.records import Records

VALUES = st.lists(st.tuples(st.text(), st.lists(st.integers(0, 2**31 - 1)), st.booleans()), max_size=8)


@given(values=VALUES, seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_values_come_back_from_their_places_in_any_order_and_number(values: list, seed: int):
    with tempfile.TemporaryDirectory() as folder:
        records = Records(Path(folder, "new", "records"))
        with records.writing() as add:
            places = [add(value) for value in values]
        chosen = np.random.default_rng(seed).integers(0, len(values), 30 if values else 0)
        assert pickle.loads(pickle.dumps(records)).read([places[i] for i in chosen]) == [values[i] for i in chosen]


def test_a_new_run_begins_a_new_file(tmp_path: Path):
    records = Records(tmp_path / "records")
    for value in ("a value of an interrupted run", "short"):
        with records.writing() as add:
            place = add(value)
    assert place == 0 and records.read([0]) == ["short"]


def test_a_worker_on_another_machine_asks_the_driver(tmp_path: Path):
    records, driver = Records(tmp_path / "records"), DriverObjects()
    with records.writing() as add:
        places = [add("first"), add("second")]
    sent = driver.to_bytes(records)
    stand_in = from_bytes(sent, lambda call: result_of(driver.answer(pickle.dumps(call))))
    assert stand_in.read(places[::-1]) == ["second", "first"]
