"""`pipeline.executors.ray_worker`, without Ray: what stays with the driver, and the desk in between."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.executors.ray_worker import Actor, Desk, DriverObjects, from_bytes, result_of
from pipeline.storage.parts import JsonParts, Parts
from wina_amp.errors import UserError


def _ask(objects: DriverObjects) -> Callable[[Any], Any]:
    return lambda call: result_of(objects.answer(pickle.dumps(call)))


def test_parts_stay_with_the_driver_and_a_worker_reads_and_writes_them_there(tmp_path: Path):
    objects, parts = DriverObjects(), Parts(tmp_path / "parts")
    store, again = from_bytes(objects.to_bytes((JsonParts(parts, "0-"), parts)), _ask(objects))
    assert store.get("x") is None
    store.put("x", [0.1, 1 / 3])
    assert JsonParts(parts, "0-").get("x") == store.get("x") == [0.1, 1 / 3]
    assert again.has("0-x.json") and again.read("0-x.json") == parts.read("0-x.json")


def test_the_same_parts_are_one_object_of_the_driver_however_often_they_are_pickled(tmp_path: Path):
    objects = DriverObjects()
    pickled = [objects.to_bytes(Parts(tmp_path)) for _ in range(3)]
    assert len({*pickled}) == 1 and objects.to_bytes(Parts(tmp_path / "other")) != pickled[0]


def refuse() -> None:
    raise UserError("Code must stay as it is", found="a change", where="here", remedy="run again")


def test_what_the_driver_refuses_is_raised_in_the_worker(tmp_path: Path):
    objects = DriverObjects()
    parts = from_bytes(objects.to_bytes(Parts(tmp_path, check=refuse)), _ask(objects))
    with pytest.raises(UserError, match="Code must stay as it is"):
        parts.write("0", b"content")
    assert not list(tmp_path.glob("[!.]*"))


def work(worker: list[int], task: int, advance: Callable[[int], object]) -> int:
    for _ in range(task):
        advance(1)
    worker.append(task)
    return sum(worker)


def missing() -> dict[str, str]:
    raise FileNotFoundError("a file of the checkpoint")


def _start(folder: Path, *, goes: bool) -> None:
    os.chdir(folder)
    if goes:
        folder.rmdir()
    with pytest.raises(FileNotFoundError, match="a file of the checkpoint"):
        Actor(b"", missing, lambda _units: None, lambda _call: None).ready()


@pytest.mark.parametrize(("goes", "code"), [(True, 1), (False, 0)])
def test_a_worker_whose_folder_goes_away_ends_and_any_other_missing_file_is_an_error(
    goes: bool, code: int, tmp_path: Path
):
    folder = tmp_path / "node"
    folder.mkdir()
    started = multiprocessing.get_context("spawn").Process(target=_start, args=(folder,), kwargs={"goes": goes})
    started.start()
    started.join()
    assert started.exitcode == code


def test_an_actor_makes_one_worker_and_tells_all_progress_before_it_returns():
    objects, told = DriverObjects(), []
    actor = Actor(objects.to_bytes(partial(list, (1,))), lambda: {"device": "cpu"}, told.append, _ask(objects))
    assert actor.ready() == {"device": "cpu"}
    assert [actor.run(objects.to_bytes((work, task))) for task in (3, 0, 5)] == [4, 4, 9]
    assert sum(told) == 8


def test_the_desk_hands_questions_to_the_driver_and_answers_to_those_who_asked():
    async def scene() -> None:
        desk = Desk()
        assert await desk.fetch(0.01) == (0, [])
        asked = [asyncio.create_task(desk.ask(question)) for question in (b"a", b"b")]
        await desk.tell(2)
        await desk.tell(3)
        progress, questions = await desk.fetch(1)
        assert progress == 5 and [question for _, question in questions] == [b"a", b"b"]
        for number, question in reversed(questions):
            await desk.answer(number, question.upper())
        assert await asyncio.gather(*asked) == [b"A", b"B"]
        assert await desk.fetch(0) == (0, [])

    asyncio.run(scene())
