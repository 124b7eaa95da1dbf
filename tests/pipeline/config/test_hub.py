"""The hub is asked by itself where settings name something of it, and only there; the environment has the last word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.config.hub import is_local
from tests.settings import PARAMS, ROOT

HUB = [
    pytest.param({"model": {"path": "Qwen/Qwen2.5-7B"}}, id="a checkpoint of the hub"),
    pytest.param({"benchmark": {"tasks": ["addition", "hellaswag"]}}, id="a task of lm-eval"),
    pytest.param({"benchmark": {"calibration": ["wikitext"]}}, id="a task of lm-eval that calibrates"),
    pytest.param({"benchmark": {"include": "data/nowhere"}}, id="a folder of tasks that is not there"),
    pytest.param({"benchmark": None}, id="no section"),
    pytest.param({"model": {"path": 3}}, id="a number"),
]


def changed(folder: Path, change: dict[str, dict[str, object] | None]) -> Path:
    values = YAML(typ="safe").load(PARAMS.read_text())
    for section, settings in change.items():
        values[section] = None if settings is None else values[section] | settings
    YAML(typ="safe").dump(values, folder / "params.yaml")
    return folder / "params.yaml"


def test_the_embedded_experiment_needs_no_hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert is_local()


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize("change", HUB)
def test_settings_that_name_something_else_may_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, dict[str, object] | None]
):
    monkeypatch.chdir(ROOT)
    assert not is_local(changed(tmp_path, change))


def test_without_settings_nothing_is_known(tmp_path: Path):
    assert not is_local(tmp_path / "params.yaml")


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(
    ("given", "offline"),
    [
        pytest.param({}, ("1", "1"), id="nothing given"),
        pytest.param({"HF_HUB_OFFLINE": "0"}, ("0", "1"), id="one given"),
        pytest.param({"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}, ("0", "0"), id="both given"),
    ],
)
def test_the_environment_has_the_last_word(given: dict[str, str], offline: tuple[str, str]):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    code = "import commands, os; print(os.environ['HF_HUB_OFFLINE'], os.environ['HF_DATASETS_OFFLINE'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=kept | given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert tuple(done.stdout.split()) == offline
