"""`make` runs the environment beside it, whatever has become of that."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text()


def said(folder: Path, target: str, python: str | None, **given: str) -> str:
    """What `make -n` would run in a folder with an environment whose Python is this script, or dangles."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True)
    if python is None:
        (scripts / "python").symlink_to("/nowhere/python3.11")
    else:
        (scripts / "python").write_text(f"#!/bin/sh\n{python}\n")
        (scripts / "python").chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    command = ["make", "-n", target, *(f"{name}={value}" for name, value in given.items())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_an_environment_that_works_is_left_alone(tmp_path: Path):
    assert "pip install" not in said(tmp_path, "lint", "exit 0")


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(
    "python", [pytest.param(None, id="its Python has gone"), pytest.param("exit 1", id="its Python lacks pip")]
)
def test_an_environment_that_does_not_work_is_made_anew(tmp_path: Path, python: str | None):
    commands = said(tmp_path, "lint", python)
    assert "venv --clear .venv" in commands and "pip install" in commands


def test_every_program_is_run_as_a_module_of_the_environment():
    recipes = re.findall(r"^\t[@-]*(.*)$", TEXT, flags=re.MULTILINE)
    assert recipes
    bare = [line for line in recipes if re.match(r"(python|dvc|ruff|pytest|pyright|pip)\b", line)]
    assert bare == []


@pytest.mark.tried("errors", "right")
def test_python_of_the_environment_comes_first_in_the_path_of_what_it_runs():
    """The line that `make install` puts into the environment, as Python runs it at its start."""
    line = re.search(r"^FIRST := (.*)$", TEXT, flags=re.MULTILINE)
    assert line
    code = f"{line[1]}; print(os.environ['PATH'].split(os.pathsep)[0] == sys.prefix + '/bin')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.tried("names", "right")
@pytest.mark.parametrize("name", ["PRESET", "REVISION", "MODEL", "COUNTS"])
@pytest.mark.parametrize("value", ["x; touch made", "'; touch made; '", "`touch made`", "x && touch made"])
def test_what_is_given_to_make_is_no_command(tmp_path: Path, name: str, value: str):
    others = {"PRESET": "x", "REVISION": "x", "MODEL": "x"} | {name: value}
    commands = said(tmp_path, "compare" if name == "COUNTS" else "preset", "exit 0", **others)
    assert commands and "touch" not in commands
