"""How a stage ends: quietly, with a paragraph and code 2, or with the traceback of a bug."""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from stages import run
from tests.settings import full
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
import logging
from wina_amp.errors import UserError
from stages.run import {runner}

def main(settings{parameter}):
    {body}

{runner}(main)
"""


def run_stage(tmp_path: Path, body: str, *arguments: str, runner: str = "run") -> subprocess.CompletedProcess[str]:
    parameter = ", name" if runner == "run_named" else ""
    (tmp_path / "invented.py").write_text(STAGE.format(runner=runner, body=body, parameter=parameter))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "invented", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_stage_gets_the_settings_and_says_how_long_it_took(tmp_path: Path):
    done = run_stage(tmp_path, 'logging.getLogger("stages.x").info("count %d", settings.cluster.count)')
    assert done.returncode == 0 and done.stdout == ""
    assert "count " in done.stderr and "invented done in " in done.stderr


def test_a_named_stage_gets_its_name_and_insists_on_one(tmp_path: Path):
    body = 'logging.getLogger("stages.x").info("this is %s", name)'
    assert "this is wina" in run_stage(tmp_path, body, "--name", "wina", runner="run_named").stderr
    assert run_stage(tmp_path, body, runner="run_named").returncode == 2


FAMILIES = ("aggregate", "allocate", "gradient_clusters", "profile", "route", "benefit_router", "evaluate", "export")


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize("stage", FAMILIES)
def test_a_stage_of_a_family_refuses_a_name_that_the_settings_do_not_have(stage: str):
    main = importlib.import_module(f"stages.{stage}").main
    with pytest.raises(UserError, match=r"must be one of .* Found: '../../docs/x'"):
        main(full(), "../../docs/x")


def test_a_user_error_is_one_paragraph_without_a_traceback(tmp_path: Path):
    body = 'raise UserError("A must hold", found="B", where="C", remedy="do D")'
    done = run_stage(tmp_path, body)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = " ".join(done.stderr.split())
    assert said == "invented stopped. A must hold. Found: B. Where: C. What to do: do D."


def in_command(work: Callable[[], None], capsys: pytest.CaptureFixture[str], title: str = "capture") -> str:
    """What `run_command` says on stderr, in one line, when it stops."""
    with pytest.raises(SystemExit) as stopped:
        run.run_command(title, work)
    assert stopped.value.code == run.EXIT_USER_ERROR
    said = capsys.readouterr().err.strip()
    assert "\n\n" not in said, "more than one paragraph"
    return " ".join(said.split())


def fails(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "WINA_AMP_PROCESSES"])
@pytest.mark.parametrize("value", ["four", "0", "-1", "1.5", "1,2", "1e3", "100000", "\u0663", "1 2", "nan"])
def test_an_environment_that_gives_no_number_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
):
    monkeypatch.setenv(name, value)
    said = in_command(fails(AssertionError("this must not be reached")), capsys)
    assert f"{name} must be a whole number from 1 to 1024, or empty. Found: {value!r}" in said
    assert f"`unset {name}`" in said


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize("value", ["", " ", "1", " 1 "])
def test_an_environment_that_gives_one_or_nothing_is_taken(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setenv("WINA_AMP_PROCESSES", value)
    run.check_environment()


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("title", "error", "lower"),
    [
        pytest.param("capture", MemoryError(), "tokens.batch", id="Python's"),
        pytest.param("report", MemoryError("Unable to allocate 4 GiB for an array"), "report.bootstrap", id="numpy's"),
        pytest.param(
            "allocate kl",
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "kl_batch",
            id="CUDA's",
        ),
        pytest.param(
            "evaluate wina",
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
            "tokens.batch",
            id="torch's on a CPU",
        ),
    ],
)
def test_where_memory_runs_out_the_setting_to_lower_is_named(
    capsys: pytest.CaptureFixture[str], title: str, error: BaseException, lower: str
):
    said = in_command(fails(error), capsys, title)
    assert "must fit into memory" in said and lower in said and "WINA_AMP_PROCESSES=1" in said


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC], ids=["no right", "read-only", "full"])
def test_a_file_that_the_machine_refuses_is_named(capsys: pytest.CaptureFixture[str], number: int):
    said = in_command(fails(OSError(number, os.strerror(number), "data/x.parquet")), capsys)
    assert os.strerror(number) in said and "data/x.parquet" in said and "correct the permissions" in said


@pytest.mark.tried("errors", "right")
def test_work_that_prints_nothing_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(run, "ALIVE_SECONDS", 0.01)
    caplog.set_level("INFO")
    with run.alive("capture"):
        time.sleep(0.1)
    said = [message for message in caplog.messages if message.startswith("capture at work for 0 s")]
    assert said
    time.sleep(0.05)
    assert len([message for message in caplog.messages if "at work" in message]) <= len(said) + 1


def test_work_with_a_progress_bar_shows_it_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(run, "ALIVE_SECONDS", 0.01)
    caplog.set_level("INFO")
    text = io.StringIO()
    with tqdm(total=3, file=text, mininterval=1000) as bar, run.alive("capture"):
        before = len(text.getvalue())
        time.sleep(0.1)
        assert len(text.getvalue()) > before and bar.n == 0
    assert not caplog.messages


@pytest.mark.parametrize("error", [OSError("of ours"), RuntimeError("of ours"), FileNotFoundError(2, "no", "x")])
def test_other_errors_of_the_system_stay_bugs(error: Exception):
    with pytest.raises(type(error)):
        run.run_command("capture", fails(error))


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize("variables", [{"HOME": "/dev/null"}, {"XDG_CACHE_HOME": "/dev/null/x"}])
def test_where_no_cache_can_be_written_stages_have_one_of_their_own(variables: dict[str, str]):
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    code = "import os, stages; print(os.path.isdir(os.environ['NUMBA_CACHE_DIR']))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=kept | variables, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_bug_keeps_its_traceback(tmp_path: Path):
    done = run_stage(tmp_path, "raise KeyError('ours')")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_mistake_in_the_settings_is_a_user_error(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    (tmp_path / "invented.py").write_text(STAGE.format(runner="run", body="pass", parameter=""))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "invented"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "must have the sections" in done.stderr


@pytest.mark.parametrize("threads", ["1", "2"])
def test_torch_uses_the_threads_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    body = 'import sys; logging.getLogger("stages").info("threads %d", sys.modules["torch"].get_num_threads())'
    stub = (
        "class torch:\n    n = 0\n    set_num_threads = staticmethod(lambda n: setattr(torch, 'n', n))\n"
        "    get_num_threads = staticmethod(lambda: torch.n)\nimport sys\nsys.modules['torch'] = torch\n"
    )
    (tmp_path / "sitecustomize.py").write_text(stub)
    assert f"threads {threads}" in run_stage(tmp_path, body).stderr


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("2", 2)])
def test_matrix_products_of_a_stage_run_on_the_threads_of_the_environment(given: str | None, expected: int):
    known = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    code = (
        "import stages, numpy, threadpoolctl; print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=known if given is None else known | {"OMP_NUM_THREADS": given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    threads = json.loads(ran.stdout)
    assert threads and set(threads) == {expected}
