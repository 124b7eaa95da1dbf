"""What reruns and what does not, proven by running DVC on a copy of this repository with a tiny model and few samples.

One full run is made and every test starts from a copy of its result. The settings are small but cross everything that
caching must keep apart: a method without clusters, one with, a router, two schemes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.dvc.deps import covers

ROOT = Path(__file__).resolve().parents[2]

# The limit is for a hung process; the whole module takes about five minutes on one idle core.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WITHOUT_CLUSTERS = {"manifest", "prepare", "transform", "weights", "capture", "aggregate@global", "allocate@pooled"}
WITHOUT_CLUSTERS |= {"profile@pooled", "dense"}
WITHOUT_CLUSTERS |= {"evaluate@pooled"}
WITH_CLUSTERS = {"cluster", "aggregate@activation", "allocate@clustered", "profile@clustered", "route@embedding"}
# It reads the folders of all profile sets and assignments.
WITH_CLUSTERS |= {"evaluate@routed", "export@pooled", "latency"}
READING_WEIGHTS = ("transform", "weights", "capture", "dense")
EVALUATED = ("dense", "evaluate@pooled", "evaluate@routed")
EVERYTHING = WITHOUT_CLUSTERS | WITH_CLUSTERS | {"report"}
NAMING_THE_MODEL = {"data/model.json", "data/report/report.html"}
"""Results that say where the model lies."""


@dataclass(frozen=True)
class Project:
    """A copy of the repository in which DVC is run."""

    folder: Path
    caches: Path

    def run(self, *command: str) -> str:
        """Output of a command that must succeed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"
        return done.stdout

    def repro(self, *options: str) -> set[str]:
        """The stages that a `dvc repro` ran."""
        return stages_run(self.run("dvc", "repro", *options))

    def check(self) -> set[str]:
        """The stages that `make repro` runs before DVC's own."""
        return stages_run(self.run(sys.executable, "-m", "commands.check"))

    def status(self) -> dict[str, set[str]]:
        """Stage -> its dependencies that changed; stages behind those would run, too. Without `settings`."""
        stages = json.loads(self.run("dvc", "status", "--json"))
        return {
            stage.removesuffix(":"): {
                dep for reason in reasons if isinstance(reason, dict) for dep in reason.get("changed deps", {})
            }
            for stage, reasons in stages.items()
            if stage.removesuffix(":") != "settings"
        }

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", message)

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change params.yaml."""
        path = self.folder / "params.yaml"
        values = YAML(typ="safe").load(path)
        change(values)
        YAML().dump(values, path)

    def results(self) -> dict[str, bytes]:
        """Every out of the pipeline, by path."""
        listed = self.run("dvc", "ls", ".", "--dvc-only", "--recursive").split()
        return {path: (self.folder / path).read_bytes() for path in listed}

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "PYTEST_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.caches / "dvc"),
        }


def stages_run(output: str) -> set[str]:
    """All but `settings`, which runs whenever a setting has changed, and makes nobody run again."""
    return set(re.findall(r"Running stage '([^']+)'", output)) - {"settings"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository after a full run, committed, with its results pushed to the shared folder beside it."""
    parent = tmp_path_factory.mktemp("finished")
    project = Project(parent / "project", tmp_path_factory.mktemp("caches"))
    copy_working_tree(project.folder)
    shutil.rmtree(project.folder / "data" / "reference" / "model", ignore_errors=True)
    save_tiny_model(project.folder / "data" / "reference" / "model")
    project.change(make_small)
    (project.folder / "dvc.lock").unlink(missing_ok=True)
    project.run("git", "init", "-q", "-b", "main")
    assert project.repro() == EVERYTHING
    project.commit("results")
    project.run("dvc", "push")
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished repository that a test may change."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project", finished.caches)


def test_a_second_run_runs_nothing(project: Project):
    assert project.repro() == set()


BEHIND_ALLOCATION = (
    "pipeline/report/text/wording.py",
    "wina_amp/routing/router_fit.py",
    "pipeline/estimate/work.py",
    "pipeline/evaluate/method.py",
    "pipeline/latency/timing.py",
    "wina_amp/profile_set/card.py",
    "wina_amp/routing/router.py",
    "wina_amp/decode/decoding.py",
    "commands/preset.py",
)


@pytest.fixture(scope="module")
def status_after_edits(finished: Project) -> dict[str, set[str]]:
    """Stage -> its changed dependencies, in a copy in which all of `BEHIND_ALLOCATION` are edited."""
    edited = {file: (finished.folder / file).read_text() for file in BEHIND_ALLOCATION}
    for file, text in edited.items():
        (finished.folder / file).write_text(text + "\n# A word more.\n")
    try:
        return finished.status()
    finally:
        for file, text in edited.items():
            (finished.folder / file).write_text(text)


@pytest.mark.parametrize("file", BEHIND_ALLOCATION)
def test_editing_what_comes_behind_them_reruns_neither_capture_nor_allocation(
    status_after_edits: dict[str, set[str]], file: str
):
    reruns = {
        stage.partition("@")[0]
        for stage, changed in status_after_edits.items()
        if any(covers(dep, file) for dep in changed)
    }
    assert not reruns & {"manifest", "prepare", "transform", "weights", "capture", "cluster", "aggregate", "allocate"}
    assert bool(reruns) != file.startswith(("commands/", "pipeline/estimate/")), "and what depends on it would run"


def test_the_reference_models_own_stages_are_found_and_no_part_of_this_pipeline(project: Project):
    commands = subprocess.run(["make", "-n", "reference"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    stages = re.findall(r"--single-item (\S+)", commands)
    assert len(stages) == 2
    assert "stages reference_train" in project.run("dvc", "repro", "--dry", "--single-item", stages[0])
    assert stages_run(project.run("dvc", "repro", "--dry")) == set()
    assert project.run("dvc", "params", "diff").strip() == ""


def test_editing_report_code_reruns_only_the_report(project: Project):
    module = project.folder / "pipeline" / "report" / "text" / "wording.py"
    module.write_text(module.read_text() + "\n# A word more.\n")
    assert project.repro() == {"report"}


def test_a_new_method_is_all_that_is_evaluated(project: Project):
    project.change(
        lambda values: values["methods"].update(
            oracle={"profile": "clustered", "groups_from": "assignments/activation", "mask": "threshold"}
        )
    )
    # DVC cannot look up one method by another's name, so the settings of all are params of export and latency.
    assert {*project.status()} == {"evaluate@oracle", "export@pooled", "latency", "report"}
    assert project.repro(*EVALUATED, "evaluate@oracle") == {"evaluate@oracle"}


def test_a_new_target_reuses_what_was_evaluated_at_the_old_ones(project: Project):
    parts = project.folder / ".scratch"
    before = {path: path.stat().st_mtime_ns for path in parts.glob("evaluate@pooled/**/*.parquet")}
    assert before, "evaluation keeps no finished parts"
    project.change(lambda values: values["evaluate"].update(targets=[0.3, 0.5]))
    assert {*project.status()} == {
        "allocate@pooled",
        "allocate@clustered",
        "evaluate@pooled",
        "evaluate@routed",
        "export@pooled",
        "latency",
        "report",
    }
    assert project.repro("evaluate@pooled") == {"allocate@pooled", "profile@pooled", "evaluate@pooled"}
    after = {path: path.stat().st_mtime_ns for path in parts.glob("evaluate@pooled/**/*.parquet")}
    assert before.items() <= after.items(), "parts of the old target were computed again"
    assert len(after) == len(before) * 2


def test_a_colleague_who_pulls_runs_nothing(finished: Project):
    colleague = Project(finished.folder.parent / "colleague", finished.caches)
    finished.run("git", "clone", "-q", str(finished.folder), str(colleague.folder))
    assert colleague.repro("--pull") == set()
    assert colleague.results() == finished.results()


@pytest.mark.tried("damage", "right")
def test_a_colleague_who_pulls_runs_nothing_after_a_method_and_its_router_were_removed(project: Project):
    leave_temporary_files(project.folder / "data")
    project.change(lambda values: (values["methods"].pop("routed"), values["route"].update(routers={})))
    assert project.repro() == {"export@pooled", "latency", "report"}
    assert project.repro() == set()
    project.commit("without routed")
    project.run("dvc", "push")
    colleague = Project(project.folder.parent / "colleague", project.caches)
    project.run("git", "clone", "-q", str(project.folder), str(colleague.folder))
    assert colleague.repro("--pull") == set()
    assert colleague.results() == project.results()


def leave_temporary_files(folder: Path) -> None:
    """As a killed process does, in every folder."""
    for table in [*folder.rglob("*.parquet")]:
        table.with_name(f".{table.name}.4711.tmp").touch()


def test_experiments_on_the_number_of_clusters_run_only_what_depends_on_it(project: Project):
    project.run("dvc", "exp", "run", "--queue", "-S", "cluster.count=2,3")
    project.run("dvc", "exp", "run", "--run-all")
    ran = [stages_run(project.run("dvc", "queue", "logs", name)) for name in queued(project)]
    assert sorted(ran, key=len) == [set(), WITH_CLUSTERS | {"report"}]
    table = csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv", "--no-pager")))
    shown = [row for row in table if row["Experiment"]]
    assert {row["cluster.count"] for row in shown} == {"2", "3"}


@pytest.fixture(scope="module")
def elsewhere(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in another folder whose model lies where DVC does not watch it, run from nothing: no cache, no finished
    parts, no lock."""
    parent = tmp_path_factory.mktemp("elsewhere")
    again = Project(parent / "project", finished.caches)
    finished.run("git", "clone", "-q", str(finished.folder), str(again.folder))
    (again.folder / "dvc.lock").unlink()
    folder = shutil.copytree(again.folder / "data" / "reference" / "model", parent / "model")
    again.change(lambda values: values["model"].update(path=str(folder)))
    assert again.check() | again.repro() == EVERYTHING
    return again


def test_the_same_seed_gives_the_same_bytes_in_another_folder(finished: Project, elsewhere: Project):
    """Every table and report, byte for byte, but for what names the model's folder."""
    first, second = finished.results(), elsewhere.results()
    assert first.keys() == second.keys()
    assert {path for path in first if first[path] != second[path]} <= NAMING_THE_MODEL


def test_a_checkpoint_that_dvc_does_not_watch_reruns_what_depends_on_it(elsewhere: Project):
    project, weights = elsewhere, elsewhere.folder.parent / "model" / "model.safetensors"
    assert project.check() == set()
    os.utime(weights)
    assert project.check() | project.repro() == set(), "touched but not changed"
    before = project.results()

    flip_last_byte(weights)
    # Not the samples: they depend on the tokenizer, which is the same.
    assert project.check() | project.repro(*READING_WEIGHTS) == {"manifest", *READING_WEIGHTS}
    assert {"allocate@pooled", "evaluate@pooled", "route@embedding"} <= project.status().keys()
    assert project.check() | project.repro(*READING_WEIGHTS) == set()

    flip_last_byte(weights)
    assert project.check() | project.repro() == {"manifest"}, "everything else is restored from the cache"
    assert project.results() == before


def queued(project: Project) -> list[str]:
    """Names of the experiments that the queue has run."""
    return re.findall(r"^\S+\s+(\S+)\s.*(?:Success|Failed)", project.run("dvc", "queue", "status"), flags=re.MULTILINE)


def flip_last_byte(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _profile(scheme: str) -> dict[str, str]:
    start = f"group_histograms/{scheme}"
    return {"scheme": scheme, "criterion": "wina", "allocation": "uniform", "starts_from": start}


def make_small(values: dict[str, Any]) -> None:
    values["benchmark"] |= {"tasks": ["comparison", "boolean", "reversal_free"], "train_samples": 8, "test_samples": 4}
    values["model"] |= {"path": "data/reference/model", "dtype": "float32", "device": "cpu"}
    values["capture"] |= {"criteria": ["wina"], "signature_dim": 4}
    values["cluster"] |= {"algorithm": "kmeans", "count": 2, "components": 2}
    values["schemes"] = ["global", "activation"]
    values["profiles"] = {
        "pooled": _profile("global"),
        "clustered": _profile("activation"),
    }
    values["gradient"] = {"pooled": [], "targets": [0.5], "counts": [2]}
    routers = {"embedding": {"reads": "embedding", "groups_from": "assignments/activation"}}
    values["route"] |= {"routers": routers, "benefit_routers": {}, "blocks": 1}
    values["evaluate"] |= {"targets": [0.5], "train_samples": 4, "test_samples": None, "primary": None}
    values["methods"] = {
        "pooled": {"profile": "pooled", "groups_from": "assignments/global", "mask": "threshold"},
        "routed": {"profile": "clustered", "groups_from": "routes/embedding", "mask": "topk"},
    }
    values["export"] = {"methods": ["pooled"]}
    values["report"] |= {"baseline": "pooled", "bootstrap": 100}


def copy_working_tree(folder: Path) -> None:
    """The files of this repository as they are now, committed or not, without what Git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("data/reference/model/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def save_tiny_model(folder: Path) -> None:
    """A random Llama with the embedded benchmark's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pipeline.tasks.embedded import tokenizer as tokenizers

    tokenizer = tokenizers.build(256)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
