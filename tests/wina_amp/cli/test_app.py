"""`wina_amp.cli.app`: every command explains itself, starts fast, and ends with the exit code that it should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli import app as module
from wina_amp.cli.app import app, main
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.profile_set import ProfileSet

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "inspect", "doctor", "push", "generate", "eval", "import-gguf", "import-teal", "export-thresholds", "calibrate",
    "chat", "bench",
)  # fmt: skip

LISTS_MODULES = """
import json, sys
sys.argv = ["wina-amp", "--help"]
from wina_amp.cli.app import main
try:
    main()
finally:
    sys.stderr.write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_help_lists_every_command_and_loads_no_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", LISTS_MODULES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert all(f" {name} " in done.stdout for name in COMMANDS)
    heavy = {"torch", "transformers", "numpy", "huggingface_hub", "safetensors", "numba", "gguf"}
    assert heavy.isdisjoint(json.loads(done.stderr))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str):
    result = CliRunner().invoke(app, [command, "--help"], prog_name="wina-amp", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: wina-amp {command}" in _plain(result.output)


def test_there_are_no_other_commands():
    named = [each.name or each.callback.__name__.replace("_", "-") for each in app.registered_commands if each.callback]
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["inspect", "no/such/folder"], "must be named by a folder or by", id="no such set"),
        pytest.param(["export-thresholds", "x", "x.parquet"], "must end in .json or .csv", id="another suffix"),
        pytest.param(["import-gguf", "no.gguf", "new"], "must be a whole GGUF file", id="no such file"),
        pytest.param(["push", "no/such/folder", "a/b"], "must be named by a folder or by", id="no set to push"),
    ],
)
def test_a_mistake_of_the_user_is_one_paragraph_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert _exit_code(arguments, monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in " ".join(said.err.split())
    assert "What to do:" in said.err and "Traceback" not in said.err


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(PermissionError(13, "Permission denied", "x"), "must be readable and writable", id="permissions"),
        pytest.param(MemoryError(), "must fit into memory", id="memory"),
        pytest.param(RuntimeError("CUDA out of memory"), "must fit into memory", id="memory of a GPU"),
    ],
)
def test_what_the_machine_refuses_is_one_paragraph_too(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(**_options: object) -> None:
        raise error

    monkeypatch.setattr(module, "app", refuse)
    assert _exit_code([], monkeypatch) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("a bug")])
def test_a_bug_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def break_down(**_options: object) -> None:
        raise error

    monkeypatch.setattr(module, "app", break_down)
    with pytest.raises(type(error), match="a bug"):
        main()


def test_an_unknown_option_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert _exit_code(["inspect", "x", "--jsn"], monkeypatch) == 2
    assert "--jsn" in _plain(capsys.readouterr().err)


@pytest.mark.parametrize(("options", "private"), [([], None), (["--private"], True)])
def test_push_uploads_the_set_and_says_where(
    options: list[str],
    private: bool | None,
    tiny_loaded: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    pushed: list[object] = []

    def push_to_hub(made: ProfileSet, repository: str, *, private: bool | None) -> str:
        pushed.append((made.description.name, repository, private))
        return "https://hub/commit"

    monkeypatch.setattr(ProfileSet, "push_to_hub", push_to_hub)
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    arguments = ["push", str(tmp_path / "set"), "owner/sets", *options]
    assert CliRunner().invoke(app, arguments).stdout == "https://hub/commit\n"
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout) == {"commit": "https://hub/commit"}
    assert pushed == [("made_up", "owner/sets", private)] * 2


def _exit_code(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["wina-amp", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
