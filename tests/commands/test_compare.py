"""Studies are folders with metrics, or what DVC knows; mistakes are named."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from commands import compare
from wina_amp.errors import UserError

METRICS = {"clusters.count": 4, "gain.mean": 1.0, "gain.low": 0.5, "gain.high": 1.5}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, count in (("one", 2), ("two", 4)):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "metrics.json").write_text(json.dumps({**METRICS, "clusters.count": count}))
    return tmp_path


def test_folders_of_runs_stand_side_by_side_under_their_names(here):
    compare.main(["first=one/data", "two"])
    page = (here / compare.PAGE).read_text()
    assert ">first</th>" in page and ">two</th>" in page and "2 of 2 studies" in page


@pytest.mark.tried("names", "right")
@pytest.mark.parametrize(
    ("named", "message"),
    [
        pytest.param(["one"], "At least two studies.*Found: one", id="one study"),
        pytest.param(["a=one", "a=two"], "of different names.*Found: a, a", id="one name twice"),
        pytest.param(["one", "three"], "a folder with a metrics.json.*three", id="no such folder"),
        pytest.param(["one", "broken"], "a folder with a metrics.json.*broken", id="metrics that are no JSON"),
        pytest.param(["one", "listed"], "a folder with a metrics.json.*listed", id="metrics that are a list"),
    ],
)
def test_folders_that_cannot_be_compared_are_named(here, named, message):
    for name, text in (("broken", "{"), ("listed", "[1]")):
        (here / name).mkdir()
        (here / name / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=message):
        compare.main(named)
    assert not (here / compare.PAGE).exists()


def test_without_names_the_workspace_and_the_experiments_of_dvc_are_compared(here):
    def run(*command):
        subprocess.run(command, cwd=here, check=True, capture_output=True)

    code = "import yaml, json; json.dump(yaml.safe_load(open('params.yaml')), open('data/metrics.json', 'w'))"
    stage = f'python -c "{code}"'
    (here / "params.yaml").write_text("clusters.count: 2\ngain.mean: 1.0\n")
    (here / "data").mkdir(exist_ok=True)
    (here / "data" / "keep").write_text("")
    (here / "dvc.yaml").write_text(
        json.dumps({"stages": {"s": {"cmd": stage, "deps": ["params.yaml"], "outs": ["data/metrics.json"]}}})
    )
    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "one")
    (here / "params.yaml").write_text("clusters.count: 4\ngain.mean: 2.0\n")
    run(sys.executable, "-m", "dvc", "exp", "run", "--name", "more")
    compare.main([])
    page = (here / compare.PAGE).read_text()
    assert ">workspace</th>" in page and ">more</th>" in page
