"""The distribution `wina-amp`: its wheel, installed elsewhere, makes `generate()` sparse in a program of its own.

The fresh environment sees torch and transformers of the environment that runs the tests, so that nothing is downloaded;
the wheel itself is installed by pip.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.sparsity import sparsify_

ROOT = Path(__file__).parents[2]

PROMPT = "w1 w2 w3 w4"

PROGRAM = """
import json
import sys

folder, model_folder, prompt, hides_extras = json.loads(sys.argv[1])
if hides_extras:
    sys.modules["numba"] = sys.modules["triton"] = None

from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(model_folder)
tokenizer = AutoTokenizer.from_pretrained(model_folder)
inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)

from wina_amp import ProfileSet, sparsify_

profile_set = ProfileSet.from_pretrained(folder)
with sparsify_(model, profile_set, sparsity=0.5) as sparse:
    tokens = model.generate(**inputs, min_new_tokens=6, max_new_tokens=6, do_sample=False)

import importlib.util

import wina_amp

print(json.dumps({
    "tokens": tokens[0].tolist(),
    "file": wina_amp.__file__,
    "importable": [name for name in ("pipeline", "stages", "commands") if importlib.util.find_spec(name)],
    "imported": sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None}),
}))
"""

STUDY_ONLY = {"pandas", "pyarrow", "dvc", "sklearn", "lm_eval", "pipeline", "stages"}
"""Packages that a program which decodes sparse must not pay for."""


def _python(*arguments: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    process = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "wina_amp", source / "wina_amp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    isolation = ["--no-build-isolation"] if find_spec("setuptools") else []
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)]
    _python(sys.executable, "-m", "pip", "wheel", str(source), *options, *isolation, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    _python(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder)
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter)]
    _python(*pip, "install", "--no-deps", "--no-index", "--quiet", str(wheel), cwd=folder)
    return interpreter


@pytest.mark.parametrize("hides_extras", [False, True])
def test_an_installed_wheel_generates_sparse_outside_the_repository(
    python: Path, tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path, hides_extras: bool
):
    made = profile_set(tiny_loaded)
    made.save_pretrained(tmp_path / "set")
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = json.dumps([str(tmp_path / "set"), str(tiny_llama), PROMPT, hides_extras])
    output = _python(str(python), "-P", "program.py", arguments, cwd=tmp_path)
    result = json.loads(output.splitlines()[-1])

    ids = tiny_loaded.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    with sparsify_(tiny_loaded, made, sparsity=0.5) as sparse:
        expected = sparse.model.generate(ids, min_new_tokens=6, max_new_tokens=6, do_sample=False)
    assert result["tokens"] == expected[0].tolist()
    assert Path(result["file"]).is_relative_to(python.parents[1].resolve())
    assert result["importable"] == []
    assert STUDY_ONLY.isdisjoint(result["imported"])
    assert ("numba" in result["imported"]) == (not hides_extras)


def test_an_installed_wheel_has_the_command(python: Path, tmp_path: Path):
    assert "inspect" in _python(str(python.parent / "wina-amp"), "--help", cwd=tmp_path)


def test_the_wheel_holds_the_runtime_alone_and_is_typed(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packaged = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    files = (path for path in (ROOT / "wina_amp").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packaged == {str(path.relative_to(ROOT)) for path in files}
    assert "wina_amp/py.typed" in packaged
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_runtime_imports_nothing_that_the_wheel_does_not_declare():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {_name(line) for line in project["dependencies"]}
    extras = {_name(line) for lines in project["optional-dependencies"].values() for line in lines}
    extras = {"sklearn" if name == "scikit-learn" else name for name in extras}  # which is imported by that name
    imported = {name for path in (ROOT / "wina_amp").rglob("*.py") for name in _imports(path)}
    third_party = imported - set(sys.stdlib_module_names) - {"wina_amp"}
    assert third_party - extras == required


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match
    return match[0]


def _imports(path: Path) -> set[str]:
    """Top-level names of what a module imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names
