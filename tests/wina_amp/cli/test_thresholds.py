"""`wina-amp export-thresholds`: every threshold once, and the same float32 when it is read."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli.app import app
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.profile_set import ProfileSet

COLUMNS = ["target", "group", "group_name", "block", "projection", "threshold"]


@pytest.fixture
def made(tiny_loaded: LoadedModel, tmp_path: Path) -> ProfileSet:
    """A set in `set`, with group names that repeat and thresholds that are hard to write."""
    plain = profile_set(tiny_loaded)
    names = tuple(replace(group, name='a, "b"') for group in plain.description.groups)
    made = replace(plain, description=replace(plain.description, groups=names))
    made.thresholds[0, 0, 0, :3] = torch.tensor([0.0, 1e-42, float("inf")])
    made.save_pretrained(tmp_path / "set")
    return made


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_every_threshold_comes_back_as_it_was(made: ProfileSet, tmp_path: Path, suffix: str):
    file = tmp_path / "new" / f"thresholds.{suffix}"
    result = CliRunner().invoke(app, ["export-thresholds", str(tmp_path / "set"), str(file)])
    assert result.exit_code == 0 and result.stdout == f"{file}\n"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = json.load(stream)["thresholds"] if suffix == "json" else list(csv.DictReader(stream))
    assert list(rows[0]) == COLUMNS and len(rows) == made.thresholds.numel()
    description = made.description
    again = torch.full_like(made.thresholds, float("nan"))
    for row in rows:
        target = description.targets.index(float(row["target"]))
        projection = list(description.model.projections).index(row["projection"])
        assert row["group_name"] == 'a, "b"'
        again[target, int(row["group"]), int(row["block"]), projection] = float(row["threshold"])
    assert torch.equal(again, made.thresholds)


def test_json_names_the_set_its_criterion_and_its_model(made: ProfileSet, tmp_path: Path):
    CliRunner().invoke(app, ["export-thresholds", str(tmp_path / "set"), str(tmp_path / "t.json")])
    head = json.loads((tmp_path / "t.json").read_text())
    assert (head["profile_set"], head["criterion"], head["model"]) == ("made_up", "wina", "0" * 64)
