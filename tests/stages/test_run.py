"""How a stage starts, and how it ends: quietly, with a paragraph and code 2, or with the traceback of a bug."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from pipeline.executors.processes import processes
from stages import run
from stages.inputs.environment import environment

ROOT = Path(__file__).resolve().parents[2]
STAGE = '''
"""invented: a stage of a copy of the repository."""
import logging
from pathlib import Path
from wina_amp.errors import UserError

def main(settings{parameter}):
    Path("data/out.txt").write_text(str(settings.seed))
    {body}
'''
PIPELINE = """
stages:
  invented:
    cmd: python -m stages invented
    params: [seed, tokens]
    deps: [data/in.txt, wina_amp/errors.py, pipeline/config, stages/invented.py]
    outs: [data/out.txt]
  named:
    foreach: ${methods}
    do:
      cmd: python -m stages named
      params: ["methods.${key}"]
      deps: [stages/named.py]
      outs: ["data/${key}.txt"]
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the repository, with a pipeline of two invented stages."""
    folder = tmp_path_factory.mktemp("repository")
    for package in ("wina_amp", "pipeline", "stages"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data" / "reference").mkdir(parents=True)
    (folder / "data" / "reference" / "dvc.yaml").write_text("stages: {}\n")
    (folder / "dvc.yaml").write_text(PIPELINE)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


@pytest.fixture
def repository(copied: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(copied, tmp_path / "repository")
    (folder / "data" / "in.txt").write_text("in")
    return folder


def run_stage(
    repository: Path, body: str, *arguments: str, stage: str = "invented", **environment: str
) -> subprocess.CompletedProcess[str]:
    parameter = ", name" if stage == "named" else ""
    if stage != "inputs":
        (repository / "stages" / f"{stage}.py").write_text(STAGE.format(body=body, parameter=parameter))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    command = [sys.executable, "-m", "stages", stage, *arguments]
    return subprocess.run(command, cwd=repository, env=kept | environment, capture_output=True, text=True)


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split())


def test_a_stage_gets_the_settings_and_says_how_long_it_took(repository: Path):
    done = run_stage(repository, 'logging.getLogger("stages.x").info("count %d", settings.cluster.count)')
    assert done.returncode == 0 and done.stdout == ""
    assert "count " in done.stderr and "invented done in " in done.stderr


@pytest.mark.tried("names", "right")
@pytest.mark.parametrize("by", ["command line", "DVC"])
def test_a_named_stage_gets_its_name_from(repository: Path, by: str):
    body = 'logging.getLogger("stages.x").info("this is %s", name)'
    given = ["--name", "wina"] if by == "command line" else []
    environment = {} if given else {"DVC_STAGE": "named@wina"}
    assert "this is wina" in run_stage(repository, body, *given, stage="named", **environment).stderr


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "The name of stage `named` must be one of"),
        (["--name", "wima"], "did you mean 'wina'?"),
        (["--name", "../wina"], "did you mean 'wina'?"),
    ],
    ids=["no name", "a wrong name", "a path"],
)
def test_a_named_stage_needs_a_name_of_the_settings(repository: Path, arguments: list[str], part: str):
    done = run_stage(repository, "pass", *arguments, stage="named")
    assert done.returncode == 2 and part in said(done), done.stderr


@pytest.mark.tried("names", "refused")
def test_a_stage_without_names_is_given_none(repository: Path):
    done = run_stage(repository, "pass", "--name", "wina")
    assert done.returncode == 2 and "takes no name. Found: wina. Where: `--name`" in said(done)


@pytest.mark.tried("names", "refused")
def test_an_unknown_stage_is_refused(repository: Path):
    done = run_stage(repository, "pass", stage="inputs")
    assert done.returncode == 2 and "The stage must be one of invented, named" in said(done)


def test_a_user_error_is_one_paragraph_without_a_traceback(repository: Path):
    done = run_stage(repository, 'raise UserError("A must hold", found="B", where="C", remedy="do D")')
    assert done.returncode == 2
    assert said(done) == "invented stopped. A must hold. Found: B. Where: C. What to do: do D."


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
@pytest.mark.parametrize("value", ["", " ", "1", " 1 ", "01"])
def test_an_environment_that_gives_one_or_nothing_is_taken(monkeypatch: pytest.MonkeyPatch, value: str):
    """In one way of writing, because parts of other threads are not picked up."""
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setenv("WINA_AMP_PROCESSES", value)
    monkeypatch.setattr(torch, "set_num_threads", lambda _threads: None)
    run.check_environment()
    run.limit_threads()
    assert environment("cpu")["threads"] == "1"
    assert processes(1, on_cpu=True) == 1 or not value.strip()


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("title", "error", "lower"),
    [
        pytest.param("capture", MemoryError(), "tokens.batch", id="Python's"),
        pytest.param("report", MemoryError("Unable to allocate 4 GiB for an array"), "report.bootstrap", id="numpy's"),
        pytest.param(
            "allocate kl",
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "kl_tokens",
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


def test_a_bug_keeps_its_traceback(repository: Path):
    done = run_stage(repository, "raise KeyError('ours')")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_mistake_in_the_settings_is_a_user_error(repository: Path):
    (repository / "params.yaml").write_text("seed: 0\n")
    done = run_stage(repository, "pass")
    assert done.returncode == 2 and "must have the sections" in done.stderr


MEANWHILE = {
    "a setting": "edit('params.yaml', 'seed: 0', 'seed: 1')",
    "its own code": "edit('stages/invented.py', 'import logging', 'import logging, os')",
    "a package that it imports": "edit('pipeline/config/kinds.py', 'import', 'import  ')",
    "code, put back afterwards": "file = Path('pipeline/config/kinds.py'); file.write_text(file.read_text())",
    "a new module": "Path('pipeline/config/more.py').write_text('')",
    "data": "Path('data/in.txt').write_text('other')",
    "data, deleted": "Path('data/in.txt').unlink()",
    "data, put back afterwards": "edit('data/in.txt', 'in', 'other'); edit('data/in.txt', 'other', 'in')",
}
HARMLESS = {
    "a setting that it does not read": "edit('params.yaml', 'capture:', 'capture: # histograms')",
    "a package that it does not import": "Path('pipeline/report/more.py').write_text('')",
    "bytecode": "Path('pipeline/config/__pycache__').mkdir(exist_ok=True); "
    "Path('pipeline/config/__pycache__/x.pyc').write_bytes(b'')",
    "data that it does not read": "Path('data/more.txt').write_text('')",
}
EDIT = "edit = lambda path, old, new: Path(path).write_text(Path(path).read_text().replace(old, new, 1)); "


@pytest.mark.tried("changed-inputs", "refused")
@pytest.mark.parametrize("edit", MEANWHILE.values(), ids=MEANWHILE)
def test_what_a_stage_reads_must_not_change_while_it_runs(repository: Path, edit: str):
    done = run_stage(repository, EDIT + edit)
    assert done.returncode == 2, done.stderr
    assert "must stay as they are while a stage runs" in said(done) and "run `dvc repro` again" in said(done)
    assert not (repository / "data" / "out.txt").exists(), "nothing is published"


@pytest.mark.tried("changed-inputs", "refused")
def test_settings_that_are_broken_while_a_stage_runs(repository: Path):
    done = run_stage(repository, "Path('params.yaml').write_text('seed: [')")
    assert done.returncode == 2 and "must be valid YAML" in said(done)
    assert not (repository / "data" / "out.txt").exists()


@pytest.mark.tried("changed-inputs", "right")
@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS)
def test_what_it_does_not_read_may_change(repository: Path, edit: str):
    done = run_stage(repository, EDIT + edit)
    assert done.returncode == 0, done.stderr
    assert (repository / "data" / "out.txt").read_text() == "0"


@pytest.mark.tried("changed-inputs", "refused")
def test_dvc_records_nothing_of_a_stage_whose_branch_was_switched(repository: Path, tmp_path: Path):
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
        kept |= {"DVC_SITE_CACHE_DIR": str(tmp_path / "caches"), "DVC_NO_ANALYTICS": "1"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(command, cwd=repository, env=kept | {"PATH": path}, capture_output=True, text=True)

    switch = "import subprocess; subprocess.run(['git', 'checkout', '-q', 'other'], check=True)"
    (repository / "stages" / "invented.py").write_text(STAGE.format(body=switch, parameter=""))
    (repository / "stages" / "named.py").write_text("")
    run("git", "init", "-q", "-b", "main")
    run("git", "config", "user.email", "test@localhost")
    run("git", "config", "user.name", "test")
    assert run("dvc", "init", "-q").returncode == 0
    (repository / ".gitignore").write_text("__pycache__\n/data/out.txt\n")
    run("git", "add", "--all")
    run("git", "commit", "-q", "-m", "main")
    run("git", "checkout", "-q", "-b", "other")
    (repository / "pipeline" / "config" / "more.py").write_text("")
    run("git", "add", "--all")
    run("git", "commit", "-q", "-m", "other")
    run("git", "checkout", "-q", "main")
    done = run("dvc", "repro", "invented")
    assert done.returncode != 0 and "changed meanwhile: pipeline/config" in said(done), done.stderr
    lock = repository / "dvc.lock"
    assert not lock.exists() or "invented" not in lock.read_text()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_torch_uses_the_threads_of_the_environment(repository: Path, threads: str):
    body = 'import sys; logging.getLogger("stages").info("threads %d", sys.modules["torch"].get_num_threads())'
    stub = (
        "class torch:\n    n = 0\n    set_num_threads = staticmethod(lambda n: setattr(torch, 'n', n))\n"
        "    get_num_threads = staticmethod(lambda: torch.n)\nimport sys\nsys.modules['torch'] = torch\n"
    )
    (repository / "sitecustomize.py").write_text(stub)
    done = run_stage(repository, body, OMP_NUM_THREADS=threads, PYTHONPATH=str(repository))
    assert f"threads {threads}" in done.stderr


@pytest.mark.tried("equal-bytes", "right")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, 1, id="nothing"),
        pytest.param({"OMP_NUM_THREADS": "2"}, 2, id="two threads"),
        pytest.param({"OMP_NUM_THREADS": " "}, 1, id="a space"),
        pytest.param({"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, 1, id="the variables of BLAS libraries"),
    ],
)
def test_matrix_products_of_a_stage_run_on_the_threads_of_the_environment(given: dict[str, str], expected: int):
    known = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    code = (
        "import stages, numpy, threadpoolctl; print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=known | given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    threads = json.loads(ran.stdout)
    assert threads and set(threads) == {expected}
