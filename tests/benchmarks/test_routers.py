"""The benchmark of routers times and counts every kind that can be exported, and what it times are the routers."""

from __future__ import annotations

from benchmarks.routers import DENSE, GROUPS, alternate, operations, random_prompts, works
from wina_amp.models.load import LoadedModel
from wina_amp.routing.prompt_router import KINDS


def test_every_kind_is_timed_and_counted_beside_the_dense_pass(tiny_loaded: LoadedModel) -> None:
    prompts = random_prompts(tiny_loaded, 4, 30)
    todo = works(tiny_loaded)
    taken, counted = alternate(todo, prompts, 2), operations(tiny_loaded, prompts)
    assert list(todo) == list(taken) == [DENSE, *KINDS] and set(counted) == set(taken)
    assert all(seconds > 0 for seconds in taken.values())
    assert counted["embedding"] < counted["neighbours"] == counted["benefit"] < counted["scores"] < counted[DENSE]
    for kind in KINDS:
        groups = {int(todo[kind](prompt)[0]) for prompt in prompts}
        assert groups <= set(range(GROUPS))


def test_a_round_asks_every_work_about_every_prompt_and_the_first_is_not_counted() -> None:
    asked: list[int] = []
    alternate({"one": asked.append, "two": lambda prompt: asked.append(-prompt)}, [1, 2], 2)
    assert asked == [1, 2, -1, -2] * 3
