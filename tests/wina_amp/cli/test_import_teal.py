"""`wina-amp import-teal`: the files of TEAL become a profile set that the model takes, and says where it is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.wina_amp.cli.teal import write
from wina_amp import ProfileSet, sparsify_
from wina_amp.cli.app import app
from wina_amp.cli.import_teal import import_teal
from wina_amp.cli.teal_files import teal_thresholds
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.profile_set.description import Group


@pytest.fixture
def teal(tiny_loaded: LoadedModel, tmp_path: Path) -> Path:
    folder = tmp_path / "Tiny-Llama"
    write(folder, projections(tiny_loaded.model), packed=False)
    return folder


@pytest.mark.parametrize("allocation", ["uniform", "greedy"])
def test_the_model_runs_with_the_imported_set(
    teal: Path, tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path, allocation: str
):
    out = tmp_path / "set"
    options = ["--allocation", allocation, "--sparsity", "0.5,0.3", "--json"]
    done = CliRunner().invoke(app, ["import-teal", str(teal), str(tiny_llama), str(out), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "folder": str(out), "allocation": allocation, "targets": [0.3, 0.5], "blocks": 2,
    }  # fmt: skip
    profiles, model = ProfileSet.from_pretrained(out), tiny_loaded.model
    wanted = teal_thresholds(teal, projections(model), (0.3, 0.5), allocation)
    assert torch.equal(profiles.thresholds, torch.from_numpy(wanted)[:, None])
    description = profiles.description
    assert (description.criterion, description.allocation, description.dense_prefix) == ("teal", allocation, 0.5)
    assert description.groups == (Group("all samples", None),)
    with sparsify_(model, profiles, sparsity=0.5, measure=True) as sparsity:
        model.generate(torch.tensor([[1, 5, 6, 7]]), attention_mask=torch.ones(1, 4), max_new_tokens=3, do_sample=False)
        assert (sparsity.realised_sparsity or 0) > 0


def test_the_card_and_the_table_of_groups_say_what_is_not_known(teal: Path, tiny_llama: Path, tmp_path: Path):
    options = {"allocation": "uniform", "sparsity": [0.5], "dtype": "float32", "revision": "main"}
    import_teal(teal, str(tiny_llama), tmp_path / "set", **options)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "all samples (their number is not known)" in card and "TEAL's files Tiny-Llama" in card
    assert "50.00% of the prompt" in card and "Not evaluated." in card
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "set")])
    assert shown.exit_code == 0 and "not known" in shown.stdout


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"allocation": "kl"}, "must be one of greedy, uniform", id="an allocation of ours"),
        pytest.param({"sparsity": [1.5]}, "must be fractions between 0 and 1", id="a target above 1"),
        pytest.param({"model": "no/such/folder"}, "no/such/folder", id="no such model"),
        pytest.param({"folder": Path("nothing")}, "must have TEAL's histograms", id="no such folder"),
    ],
)
def test_a_mistake_is_refused_and_leaves_nothing(
    teal: Path, tiny_llama: Path, tmp_path: Path, changed: dict[str, object], message: str
):
    given = {"folder": teal, "model": str(tiny_llama), "allocation": "greedy", "sparsity": [0.5]} | changed
    with pytest.raises(UserError, match=f"(?s){message}"):
        import_teal(out=tmp_path / "set", dtype="float32", revision="main", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


@pytest.mark.tried("errors", "refused")
def test_a_folder_with_something_in_it_is_left_alone(teal: Path, tiny_llama: Path):
    with pytest.raises(UserError, match="must be new or empty"):
        import_teal(teal, str(tiny_llama), teal, allocation="uniform", sparsity=[0.5], dtype="float32", revision="main")
