"""`wina-amp inspect`: all that the description says, and the thresholds."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli.app import app
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.profile_set import ProfileSet


@pytest.fixture(params=[None, "embedding"], ids=["pooled", "routed"])
def made(request: pytest.FixtureRequest, tiny_loaded: LoadedModel, tmp_path: Path) -> ProfileSet:
    """A set that lies in `tmp_path`, measured at one of its two targets."""
    plain = profile_set(tiny_loaded, request.param)
    first, _ = plain.description.measured
    made = replace(plain, description=replace(plain.description, measured=(first, None)))
    made.save_pretrained(tmp_path)
    return made


def test_json_holds_the_description_and_a_row_of_thresholds_for_every_projection(made: ProfileSet, tmp_path: Path):
    found = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path), "--json"]).stdout)
    rows = found.pop("thresholds")
    saved = asdict(ProfileSet.from_pretrained(tmp_path).description)
    assert found == json.loads(json.dumps(saved))
    targets, groups, _, projections = made.thresholds.shape
    assert len(rows) == targets * groups * projections
    last = made.thresholds[-1, -1, :, -1]
    assert rows[-1]["projection"] == "down" and rows[-1]["target"] == 0.5
    assert rows[-1]["median"] == pytest.approx(last.double().mean().item(), rel=1e-8)  # of two blocks
    assert rows[-1]["least"] == pytest.approx(last.min().item(), rel=1e-8)
    assert rows[-1]["greatest"] == pytest.approx(last.max().item(), rel=1e-8)


def test_infinite_thresholds_are_json_too(made: ProfileSet, tmp_path: Path):
    made.thresholds[-1, 0, 0, 0] = float("inf")
    made.save_pretrained(tmp_path)
    rows = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path), "--json"]).stdout)["thresholds"]
    assert "inf" in {row["greatest"] for row in rows}


def test_tables_show_groups_router_targets_and_measurements(made: ProfileSet, tmp_path: Path):
    said = CliRunner().invoke(app, ["inspect", str(tmp_path)]).stdout
    router = "embedding: the mean of the prompt's token embeddings" if made.router else "none"
    assert all(text in said for text in ("Profile set made_up", "llama, 2 blocks", "wina: |x| times", router))
    assert all(f"{group.name}" in said for group in made.description.groups)
    assert "50.0 [25.0, 75.0]" in said and "not evaluated" in said
