"""`wina-amp calibrate` makes of every kind of file the set that `calibrate` makes of its items."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from wina_amp import ProfileSet, UserError, calibrate
from wina_amp.cli.app import app
from wina_amp.cli.calibrate import items
from wina_amp.models.load import LoadedModel

PAIRS = [{"question": f"w{i} w{i + 1} w{i + 2}", "reply": f" w{i + 3} w{i + 4}"} for i in range(8)]
TEXTS = [row["question"] + row["reply"] for row in PAIRS]


def written(folder: Path, name: str) -> Path:
    """The texts or pairs as a file of this name."""
    file = folder / name
    if file.suffix == ".txt":
        file.write_text("\n\n".join(TEXTS) + "\n")
    elif file.suffix == ".parquet":
        pd.DataFrame(PAIRS).to_parquet(file)
    elif file.suffix == ".json":
        file.write_text(json.dumps(PAIRS))
    else:
        file.write_text("\n".join(map(json.dumps, PAIRS)))
    return file


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_rows_become_prompts_and_answers(name: str, tmp_path: Path):
    file = written(tmp_path, name)
    assert list(items(file)) == PAIRS
    assert list(items(file, ("question", "reply"))) == [(row["question"], row["reply"]) for row in PAIRS]
    assert list(items(file, ("question",))) == [row["question"] for row in PAIRS]


def test_every_line_that_is_not_blank_is_a_text(tmp_path: Path):
    assert list(items(written(tmp_path, "a.txt"))) == TEXTS


def test_the_command_writes_the_set_that_calibrate_makes(tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    file, folder = written(tmp_path, "a.jsonl"), tmp_path / "made"
    options = ["--allocation", "uniform", "--sparsity", "0.5,0.25", "--columns", "question,reply", "--samples", "6"]
    result = CliRunner().invoke(app, ["calibrate", str(tiny_llama), str(file), str(folder), *options, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["folder"], said["targets"], said["groups"]) == (str(folder), [0.25, 0.5], {"all samples": 6})
    expected = calibrate(
        tiny_loaded.model,
        tiny_loaded.tokenizer,
        [(row["question"], row["reply"]) for row in PAIRS],
        allocation="uniform",
        sparsity=(0.25, 0.5),
        samples=6,
        progress=False,
    )
    made = ProfileSet.from_pretrained(folder)
    assert torch.equal(made.thresholds, expected.thresholds)
    assert (made.description.name, made.description.calibration) == ("made", ("a.jsonl",))


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        pytest.param("a.jsonl", b'{"text": "w1"}\n{"te', (), "must be jsonl in UTF-8", id="a line that is cut off"),
        pytest.param("a.json", b'{"text": ["w1"]}', (), "must hold a list", id="JSON of columns"),
        pytest.param("a.txt", b"w1 \xff\xfe", (), "must be txt in UTF-8", id="another encoding"),
        pytest.param("a.parquet", b"PAR1", (), "must be Parquet", id="no Parquet"),
        pytest.param("a.jsonl", b'{"text": "w1"}', ("txt",), "column txt.*Found: text.*row 0", id="an unknown column"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    name: str, content: bytes, columns: tuple[str, ...], message: str, tmp_path: Path
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(items(tmp_path / name, columns))


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("data", "out", "options", "message"),
    [
        pytest.param("a.csv", "new", [], "one of .txt", id="a suffix that is not read"),
        pytest.param("b.txt", "new", [], "must exist", id="no file"),
        pytest.param("a.txt", "full", [], "must be new or empty", id="a folder with something in it"),
        pytest.param("a.txt", "new", ["--sparsity", "half"], "must be fractions", id="no number"),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(
    data: str, out: str, options: list[str], message: str, tmp_path: Path
):
    written(tmp_path, "a.txt")
    (tmp_path / "a.csv").write_text("w1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    arguments = ["calibrate", "no-such-model", str(tmp_path / data), str(tmp_path / out), *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError) and message in str(result.exception)
