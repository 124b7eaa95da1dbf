"""The stage reads the tables that params.yaml names, and only those."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import params, protocol
from pipeline.config.methods import MethodSettings
from pipeline.config.profiles import ProfileSettings
from pipeline.report.page.page import as_yaml
from pipeline.report.text.names import describe
from pipeline.storage.schemas import (
    ALLOCATION_COSTS,
    ASSIGNMENTS,
    BENEFITS,
    CLUSTER_MAP,
    CLUSTER_VARIANTS,
    HELD_OUT,
    PROFILES,
    RESULTS,
    ROUTES,
    SAMPLE_COUNTS,
    SAMPLES,
    TIMINGS,
)
from stages import report
from tests.pipeline.report.synthetic import make_evidence
from tests.settings import full_text
from wina_amp.errors import UserError
from wina_amp.models import manifest

ROOT = Path(__file__).resolve().parents[2]
CONFIRMED = Path("docs/studies/embedded/confirmation")


MANIFEST = {"repository": None, "commit": None, "files": {"config.json": {"size": 1, "sha256": "0" * 64}}}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(full_text())
    monkeypatch.chdir(tmp_path)
    loaded = params.load()
    return replace(loaded, report=replace(loaded.report, bootstrap=401))


@pytest.fixture
def data(settings):
    write(make_evidence(3, 6, plan=report._plan(settings)), Path("data"))
    model = Path(settings.model.path)
    model.mkdir(parents=True)
    shutil.copy(ROOT / model / "config.json", model)
    (Path("data") / "model.json").write_text(json.dumps(MANIFEST))
    study = Path(protocol.file_of(settings.study))
    study.parent.mkdir(parents=True)
    shutil.copy(ROOT / study, study)
    return Path("data")


def write(evidence, data, *, learned=True):
    SAMPLES.write(evidence.samples, data / "samples.parquet")
    SAMPLE_COUNTS.write(evidence.sample_counts, data / "sample_counts.parquet")
    CLUSTER_VARIANTS.write(evidence.variants, data / "cluster_variants.parquet")
    CLUSTER_MAP.write(evidence.cluster_map, data / "cluster_map.parquet")
    cost = pd.DataFrame([{"profile": "feature_weights", "group": 0, "tokens": 5e6, "evaluations": 77}])
    ALLOCATION_COSTS.write(cost if learned else cost.iloc[:0], data / "feature_weights.costs.parquet")
    (data / "cluster_quality.json").write_text(json.dumps(evidence.quality))
    TIMINGS.write(evidence.timings, data / "latency" / "timings.parquet")
    (data / "latency" / "facts.json").write_text(json.dumps(evidence.latency_facts))
    for table, folder, frames in (
        (ALLOCATION_COSTS, "allocation_costs", evidence.costs),
        (ASSIGNMENTS, "assignments", evidence.assignments),
        (ROUTES, "routes", evidence.routes),
        (PROFILES, "profiles", evidence.profiles),
        (RESULTS, "results", evidence.results),
    ):
        for name, frame in frames.items():
            table.write(frame, data / folder / f"{name}.parquet")
    (data / "assignments" / "gradient.json").write_text(json.dumps(evidence.gradient))
    for table, kind, frames in ((HELD_OUT, "held_out", evidence.held_out), (BENEFITS, "benefits", evidence.benefits)):
        for name, frame in frames.items():
            table.write(frame, data / "routes" / f"{name}.{kind}.parquet")


def test_the_stage_writes_page_metrics_and_plots(settings, data):
    report.main(settings)
    assert "wina" in (data / "report" / "report.html").read_text()
    assert json.loads((data / "metrics.json").read_text())["accuracy.dense"] > 0
    assert "weights of features, learned once" in (data / "report" / "report.html").read_text()
    methods = set(pd.read_csv(data / "plots" / "accuracy.csv")["method"])
    assert methods == {"dense", *settings.methods}


def test_the_plan_says_which_mask_a_method_has_and_whether_it_reaches_every_target(settings):
    cats = ProfileSettings("global", "cats", "uniform", "group_histograms/global")
    profiles = settings.profiles | {"cats": cats}
    named = settings.methods | {"cats": MethodSettings("cats", "assignments/global", "topk")}
    plan = report._plan(replace(settings, profiles=profiles, methods=named))
    assert {method.mask for method in plan.sparse} == {"threshold", "topk", "prompt"}
    assert [method.name for method in plan.methods if method.is_limited] == ["cats"]
    text = describe(plan, plan.method("cats"))
    assert "activated gate" in text and "an exact number of the highest for every token" in text
    assert "above a calibrated threshold" in describe(plan, plan.method("wina"))


def test_weights_that_were_never_learned_have_no_row(settings, data):
    write(make_evidence(3, 6, plan=report._plan(settings)), data, learned=False)
    report.main(settings)
    assert "learned once" not in (data / "report" / "report.html").read_text()


def test_too_few_replicates_for_the_methods_are_refused_before_anything_is_written(settings, data):
    few = replace(settings, report=replace(settings.report, bootstrap=100))
    with pytest.raises(UserError, match=r"corrected for 10 comparisons\. Found: 100"):
        report.main(few)
    assert not (data / "report").exists()


def test_a_method_that_was_removed_from_the_params_does_not_come_back(settings, data):
    kept = {name: method for name, method in settings.methods.items() if name != "task"}
    report.main(replace(settings, methods=kept))
    assert "task" not in set(pd.read_csv(data / "plots" / "accuracy.csv")["method"])


def test_a_missing_table_is_an_error_that_names_it(settings, data):
    (data / "results" / "wina.parquet").unlink()
    with pytest.raises(UserError, match=r"results/wina\.parquet"):
        report.main(settings)
    assert not (data / "report").exists()


@pytest.mark.parametrize("text", ["", "{not json"])
def test_a_damaged_quality_file_is_an_error_that_names_it(settings, data, text):
    (data / "cluster_quality.json").write_text(text)
    with pytest.raises(UserError, match=r"cluster_quality\.json"):
        report.main(settings)


def test_the_page_names_the_commit_and_says_if_the_code_differs_from_it(settings, tmp_path):
    assert report._commit() == ""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*who, "commit", "-q", "-m", "settings"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = report._commit()
    assert re.fullmatch(r"[0-9a-f]{7,}, \d{4}-\d\d-\d\d", commit)
    (tmp_path / "params.yaml").write_text((tmp_path / "params.yaml").read_text() + "# more\n")
    assert report._commit() == f"{commit} with changes"


def test_the_settings_on_the_page_are_a_params_yaml_of_the_run(settings, tmp_path):
    (tmp_path / "shown.yaml").write_text(as_yaml(report._plan(settings).settings))
    assert params.load(tmp_path / "shown.yaml") == settings


def confirm(folder: Path, **changes: str) -> None:
    """Answers to all questions of the study, and their record."""
    asked = protocol.load(protocol.file_of("embedded"))
    ends = {"value": 0.12, "low": -0.5, "high": 0.72}
    found = {"answer": "no", "words": "no, smaller than 1: +0.1 points [-0.5, 0.7]", "intervals": {"all": ends}}
    answers = {name: {**found, "samples": 5376, "units": 10, "refits": 3} for name in asked.questions}
    run = {"protocol": asked.digest, "model": manifest.read("data/model.json").digest, "commit": "c" * 40}
    folder.mkdir(parents=True)
    (folder / "answers.json").write_text(json.dumps(answers))
    (folder / "record.json").write_text(json.dumps([run | {"presets": ["confirmation"]} | changes]))


def test_confirmed_answers_of_this_checkpoint_and_protocol_lead_the_page_and_stand_in_the_metrics(settings, data):
    confirm(CONFIRMED)
    report.main(settings)
    head = (data / "report" / "report.html").read_text().partition("</header>")[0]
    assert "confirmed on 5,376 unseen items" in head and "of the settings of commit cccccccccc with preset" in head
    assert head.index("no, smaller than 1") < head.index("Development: ")
    numbers = json.loads((data / "metrics.json").read_text())
    questions = protocol.load(protocol.file_of(settings.study)).questions
    assert [numbers[f"confirmed.{name}.low"] for name in questions] == [-0.5] * len(questions)


@pytest.mark.tried("errors", "warned")
@pytest.mark.parametrize("changes", [{"model": "f" * 64}, {"protocol": "f" * 64}], ids=["model", "protocol"])
def test_confirmed_answers_of_another_checkpoint_or_protocol_are_not_shown(settings, data, changes):
    confirm(CONFIRMED, **changes)
    report.main(settings)
    assert "unseen items" not in (data / "report" / "report.html").read_text()
    assert "confirmed" not in (data / "metrics.json").read_text()


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("file", "text"),
    [("answers.json", "{}"), ("record.json", "[{}]"), ("record.json", "3"), ("answers.json", "{")],
    ids=["no answer", "no protocol", "a number", "not JSON"],
)
def test_damaged_confirmed_answers_are_refused(settings, data, file, text):
    confirm(CONFIRMED)
    (CONFIRMED / file).write_text(text)
    with pytest.raises(UserError, match=r"embedded/confirmation"):
        report.main(settings)
    assert not (data / "report").exists()


def test_the_strip_names_the_model_in_words_and_what_came_from_a_cache(settings, data):
    report.main(settings)
    page = (data / "report" / "report.html").read_text()
    assert "which this repository trained on synthetic tasks (2 million parameters, 5 blocks, float32)" in page
    assert "all results came from a cache" in page
