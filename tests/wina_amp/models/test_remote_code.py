"""`model.remote_code`: code that a checkpoint brings along is run when it is asked for, and never otherwise."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import dynamic_module_utils

from wina_amp.errors import UserError
from wina_amp.models import families
from wina_amp.models.context import load_context
from wina_amp.models.load import load, load_tokenizer

CPU: dict[str, Any] = {"revision": None, "dtype": "float32", "device": "cpu"}
CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path(__file__).with_name("was_run").touch()

class OddConfig(LlamaConfig):
    model_type = "odd"

class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a `model_type` that only its own code knows, and a family row for it."""
    modules = tmp_path / "modules"
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(modules))
    monkeypatch.setitem(families.FAMILIES, "odd", replace(families.FAMILIES["llama"], model_type="odd"))
    copied = Path(shutil.copytree(tiny_llama, tmp_path / "odd_model"))
    (copied / "odd.py").write_text(CODE)
    _set(
        copied / "config.json",
        model_type="odd",
        auto_map={"AutoConfig": "odd.OddConfig", "AutoModelForCausalLM": "odd.OddForCausalLM"},
    )
    return copied


def _set(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def _was_run(folder: Path) -> bool:
    return any(folder.parent.rglob("was_run"))


def test_code_is_not_run_unless_asked_for(folder: Path):
    said = r"needs your consent.*odd\.OddForCausalLM.*config\.json.*`model\.remote_code: true`"
    with pytest.raises(UserError, match=said):
        load(folder, **CPU)
    with pytest.raises(UserError, match=said):
        load_context(str(folder), revision=None)
    assert not _was_run(folder)


def test_code_that_is_asked_for_is_run_and_the_model_profiled_by_its_row(folder: Path):
    loaded = load(folder, **CPU, remote_code=True)
    assert type(loaded.model).__name__ == "OddForCausalLM" and loaded.family.model_type == "odd"
    assert load_context(str(folder), revision=None, remote_code=True) == 128
    assert _was_run(folder)


def test_a_family_with_code_of_its_own_still_needs_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(families.FAMILIES, "odd")
    with pytest.raises(UserError, match=r"model family .*'odd'"):
        load(folder, **CPU, remote_code=True)
    assert not _was_run(folder)


def test_code_beside_a_family_that_transformers_knows_is_neither_needed_nor_run(folder: Path):
    _set(folder / "config.json", model_type="llama")
    assert type(load(folder, **CPU).model).__name__ == "LlamaForCausalLM"
    assert not _was_run(folder)


def test_a_tokenizer_with_code_of_its_own_is_refused_without_asking_on_the_terminal(folder: Path):
    _set(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["odd.OddTokenizer", None]})
    with pytest.raises(UserError, match=r"needs your consent.*odd\.OddTokenizer.*tokenizer_config\.json"):
        load_tokenizer(folder, revision=None)
