"""`pipeline.executors.processes`: every piece once, by as many processes as asked for, errors and progress passed
on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.executors.processes import PROCESSES, crew, finish, finish_rounds, processes
from wina_amp.errors import UserError

ROOT = Path(__file__).parents[3]


def make(folder: Path) -> Path:
    (folder / f"made-{os.getpid()}").touch()
    return folder


def write(folder: Path, piece: int, advance) -> None:
    advance(piece)
    (folder / f"{piece}").write_text(str(os.getpid()))
    advance(1)
    time.sleep(0.3)  # long enough for another process to take the next piece


def refuse(_folder: Path, piece: int, _advance) -> None:
    raise UserError("The piece must be good", found=piece, where="here", remedy="take another")


def refuse_to_begin() -> Path:
    raise UserError("The model must be there", found="none", where="there", remedy="get one")


def die(_folder: Path, _piece: int, _advance) -> None:
    os._exit(9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_piece_is_finished_by_as_many_processes_as_asked_for_each_of_which_makes_its_own(
    tmp_path: Path, count: int
):
    pieces, done = [3, 4, 5, 6, 7, 8], []
    finish(write, pieces, make=partial(make, tmp_path), processes=count, advance=done.append)
    by = {(tmp_path / f"{piece}").read_text() for piece in pieces}
    assert len(by) == count
    assert (str(os.getpid()) in by) == (count == 1)
    assert {path.name.removeprefix("made-") for path in tmp_path.glob("made-*")} == by
    assert sum(done) == sum(pieces) + len(pieces)


def count_earlier(folder: Path, piece: str, advance) -> None:
    time.sleep(0.05)
    (folder / piece).write_text(str(sum(path.name.startswith("early") for path in folder.iterdir())))
    advance(1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_round_begins_when_the_earlier_one_is_done_in_the_same_processes(tmp_path: Path, count: int):
    early, late, done = [f"early{n}" for n in range(5)], [f"late{n}" for n in range(3)], []
    rounds = [(count_earlier, early), (count_earlier, []), (count_earlier, late)]
    finish_rounds(rounds, make=partial(make, tmp_path), processes=count, advance=done.append)
    assert [(tmp_path / piece).read_text() for piece in late] == ["5"] * 3
    assert len(list(tmp_path.glob("made-*"))) == count
    assert sum(done) == 8


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_made_for_no_pieces(tmp_path: Path, count: int):
    finish(write, [], make=partial(make, tmp_path), processes=count)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_piece_raises_reaches_the_user(tmp_path: Path, count: int):
    with pytest.raises(UserError, match=r"must be good\. Found: 5\. Where: here\. What to do: take another\."):
        finish(refuse, [5, 5], make=partial(make, tmp_path), processes=count)
    with pytest.raises(UserError, match="The model must be there"):
        finish(write, [5, 6], make=refuse_to_begin, processes=count)


def test_a_process_that_dies_is_an_error_that_says_what_to_do(tmp_path: Path):
    with pytest.raises(UserError, match=f"set {PROCESSES}=1"):
        finish(die, [1, 2, 3], make=partial(make, tmp_path), processes=2)


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path):
    code = (
        "import os, sys, threading, time\nfrom functools import partial\nfrom pathlib import Path\n"
        "from tests.pipeline.executors.test_processes import make, sleep\n"
        "from pipeline.executors.processes import finish\n"
        "if __name__ == '__main__':\n"
        "    threading.Timer(20, os._exit, [1]).start()\n"
        "    finish(sleep, [1, 2], make=partial(make, Path(sys.argv[1])), processes=2)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    made = tmp_path / "made"
    made.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(made)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    _wait(lambda: len(list(made.iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(path.name.removeprefix("made-")) for path in made.iterdir()]
    _wait(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))


def sleep(_folder: Path, _piece: int, _advance) -> None:
    time.sleep(60)


def _wait(until) -> None:
    for _ in range(300):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("waited for 30 seconds")


def test_the_number_of_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PROCESSES, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(6))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert processes(1, on_cpu=True) == 3
    assert processes(1, on_cpu=False) == 1
    assert processes(10**15, on_cpu=True) == 1  # a model that has no room twice
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert processes(1, on_cpu=True) == 4
    monkeypatch.setenv(PROCESSES, "5")
    assert processes(10**15, on_cpu=False) == 5


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PROCESSES, value)
    with pytest.raises(UserError, match=PROCESSES):
        processes(1, on_cpu=True)


def doubled(folder: Path, piece: int) -> tuple[int, int]:
    time.sleep(0.1)
    return 2 * piece, len(list(folder.glob("made-*")))


def die_asked(_folder: Path, _piece: int) -> None:
    os._exit(9)


@pytest.mark.parametrize("count", [1, 2])
def test_a_crew_answers_again_and_again_in_the_order_of_the_pieces(tmp_path: Path, count: int):
    with crew(partial(make, tmp_path), count) as ask:
        assert [one for one, _ in ask(doubled, [3, 1, 2, 5])] == [6, 2, 4, 10]
        assert [one for one, _ in ask(doubled, [7])] == [14]
        assert ask(doubled, []) == []
    assert len(list(tmp_path.glob("made-*"))) == count


@pytest.mark.parametrize("count", [1, 2])
def test_what_goes_wrong_in_a_crew_is_raised_here(tmp_path: Path, count: int):
    with pytest.raises(UserError, match="The model must be there"), crew(refuse_to_begin, count) as ask:
        ask(doubled, [1])


def test_a_crew_that_loses_a_member_says_what_to_do(tmp_path: Path):
    with (
        pytest.raises(UserError, match=f"must live until it is done.*{PROCESSES}=1"),
        crew(partial(make, tmp_path), 2) as ask,
    ):
        ask(die_asked, [1])
