"""`stages.reference_train`, and `stages.reference_card` on what it made: a tiny recipe, its model, log and card."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.reference_model import training
from stages import reference_card, reference_train
from stages.inputs import paths
from tests.settings import full
from wina_amp.models.load import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stages build from a recipe of a few steps and a model of two narrow blocks."""
    folder = tmp_path_factory.mktemp("reference")
    shutil.copytree(ROOT / paths.BENCHMARK, folder / paths.BENCHMARK)
    for file in (folder / paths.BENCHMARK).glob("*.yaml"):  # drawing hundreds of documents takes most of the time
        file.write_text(re.sub(r"train: \d+, test: \d+", "train: 3, test: 3", file.read_text()))
    recipe = YAML(typ="safe").load(ROOT / paths.REFERENCE_PARAMS)
    recipe["architecture"] |= {"hidden": 16, "blocks": 2, "heads": 2, "kv_heads": 1, "intermediate": 24}
    recipe["recipe"] |= {"batch_tokens": 1024, "warmup": 1000}
    recipe["phases"] = [{**recipe["phases"][0], "until": 4000}]
    (folder / paths.REFERENCE_PARAMS).parent.mkdir(parents=True)
    YAML().dump(recipe, folder / paths.REFERENCE_PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(training, "_REPORT_EVERY", 1)
        patch.setattr(reference_card, "DOCUMENTS", 2)
        reference_train.main(full())
        reference_card.main(full())
    return folder / paths.REFERENCE_BUILD


def test_the_trained_model_loads_and_its_log_has_every_step(built: Path):
    loaded = load(built / "model", revision=None, dtype="float32", device="cpu")
    assert len(loaded.model.model.layers) == 2
    with (built / "log.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps)) and len(steps) >= 3
    assert ", torch " in (built / "machine.txt").read_text()


def test_the_card_has_every_task_and_the_documents_it_was_measured_on(built: Path):
    card = (built / "README.md").read_text()
    assert all(f"| {file.stem} |" in card for file in (ROOT / paths.BENCHMARK).glob("*.yaml"))
