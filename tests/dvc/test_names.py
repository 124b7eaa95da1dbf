"""What DVC fills in from params.yaml is never run and never leads anything away, proven by running DVC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.dvc import deps

CODE = ("wina_amp", "pipeline", "stages")


@pytest.mark.parametrize("name", deps.all_stages())
def test_no_command_holds_a_setting(name: str):
    assert "$" not in deps.all_stages()[name]["cmd"]


def test_what_dvc_fills_into_paths_that_it_removes_is_a_name_and_nothing_else():
    for name, stage in deps.stages((deps.ROOT / deps.MAIN).read_text()).items():
        for out in stage["outs"]:
            path = out if isinstance(out, str) else next(iter(out))
            assert {*re.findall(r"\$\{[^}]*\}", path)} <= {"${key}", "${item}"}, name


def test_every_stage_is_behind_the_one_that_checks_the_settings():
    stages = deps.stages((deps.ROOT / deps.MAIN).read_text())
    made_by = {_path(out): name for name, stage in stages.items() for out in stage["outs"]}
    behind = {"settings"}
    while more := {
        name
        for name, stage in stages.items()
        if name not in behind and any(maker in behind for dep in stage["deps"] for maker in _makers(dep, made_by))
    }:
        behind |= more
    assert behind == stages.keys()


def _path(out: str | dict[str, object]) -> str:
    return re.sub(r"\$\{[^}]*\}", "*", out if isinstance(out, str) else next(iter(out)))


def _makers(dep: str, made_by: dict[str, str]) -> list[str]:
    path = re.sub(r"\$\{[^}]*\}", "*", dep)
    return [maker for made, maker in made_by.items() if made == path or made.startswith(f"{path}/")]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline and its code, with a folder that is nobody's out."""
    folder = tmp_path_factory.mktemp("repository")
    for name in CODE:
        shutil.copytree(deps.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (deps.MAIN, ".dvcignore", "requirements.txt"):
        shutil.copy(deps.ROOT / name, folder)
    shutil.copytree(deps.ROOT / "docs" / "studies", folder / "docs" / "studies")
    (folder / "kept").mkdir()
    _dvc(folder, "init", "--no-scm", "--quiet")
    return folder


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("x; touch made", ("repro",), id="dvc repro, a second command"),
        pytest.param("$(touch made)", ("repro", "evaluate"), id="dvc repro evaluate, a command in $( )"),
        pytest.param("../../kept", ("repro", "--keep-going"), id="dvc repro --keep-going, the parent folder"),
    ],
)
def test_dvc_neither_runs_a_name_nor_removes_where_it_points(repository: Path, name: str, options: tuple[str, ...]):
    yaml = YAML(typ="safe")
    values = yaml.load((deps.ROOT / "params.yaml").read_text())
    values["methods"] = {name: values["methods"]["kl"]} | values["methods"]
    values["export"]["methods"] = [name]
    yaml.dump(values, repository / "params.yaml")
    (repository / "kept" / "precious").write_text("")
    done = _dvc(repository, *options, check=False)
    assert done.returncode != 0 and "Names in `methods` must be letters" in " ".join(done.stdout.split())
    assert not (repository / "made").exists() and (repository / "kept" / "precious").exists()
    assert re.findall(r"Running stage '([^']+)'", done.stdout) == ["settings"]


@pytest.mark.tried("names", "right")
@pytest.mark.parametrize("name", ["ü b", "x'\"; touch made; $(touch made) `touch made`"])
def test_a_stage_of_a_family_reads_its_name_and_no_shell_does(tmp_path: Path, name: str):
    """Whatever the name: that it is refused is another matter."""
    (tmp_path / "wait.py").write_text(
        "from stages.run import dvc_stage\nopen('made', 'w', encoding='utf-8').write(' '.join(dvc_stage()))\n"
    )
    stage = {"foreach": "${methods}", "do": {"cmd": f"{sys.executable} wait.py", "outs": ["made"]}}
    YAML(typ="safe").dump({"stages": {"wait": stage}}, tmp_path / "dvc.yaml")
    YAML(typ="safe").dump({"methods": {name: 1}}, tmp_path / "params.yaml")
    _dvc(tmp_path, "init", "--no-scm", "--quiet")
    _dvc(tmp_path, "repro")
    assert (tmp_path / "made").read_text(encoding="utf-8") == f"wait {name}"


def _dvc(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    own = {"PATH": path, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder.parent / "site")}
    if not (folder / "stages").exists():
        own["PYTHONPATH"] = str(deps.ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command],
        cwd=folder,
        env=kept | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, done.stdout
    return done
