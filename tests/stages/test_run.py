"""How a stage ends: quietly, with a paragraph and code 2, or with the traceback of a bug."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
