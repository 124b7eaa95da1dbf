"""`commands.confirm`: run once, with a committed protocol, and answers that its table recomputes."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.stats import t

from commands import confirm, preset_files
from pipeline.config.params import Settings
from pipeline.config.protocol import Protocol, file_of, load
from pipeline.storage.schemas import DIFFERENCES
from tests.settings import ROOT
from wina_amp.errors import UserError

PROTOCOL = file_of("embedded")
ASKED = load(ROOT / PROTOCOL)
CONFIRMED = Path(PROTOCOL).parent / "confirmation"


def git(folder: Path, *arguments: str) -> None:
    options = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a committed study is the current one."""
    files = [PROTOCOL, "params.yaml", *(f"presets/{name}.yaml" for name in ASKED.presets)]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text())
    (tmp_path / "data" / "benchmark").mkdir(parents=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", *files)
    git(tmp_path, "commit", "-qm", "protocol")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.tried("errors", "refused")
def test_a_protocol_that_is_changed_or_unknown_to_git_is_refused(repository: Path):
    confirm.refuse_uncommitted(repository, PROTOCOL)
    (repository / PROTOCOL).write_text("# changed\n" + (ROOT / PROTOCOL).read_text())
    with pytest.raises(UserError, match=r"must be committed.*Found: a change"):
        confirm.refuse_uncommitted(repository, PROTOCOL)
    git(repository, "rm", "-q", "--cached", PROTOCOL)
    with pytest.raises(UserError, match="a file that git does not know"):
        confirm.refuse_uncommitted(repository, PROTOCOL)


@pytest.mark.parametrize(
    "value",
    [
        {"profile": "kl", "groups_from": "assignments/global", "mask": "threshold"},
        [0.7, "addition", True, None, 3],
        "2024-07-26",
        {"nested": {"a": [1, {"b": "x y"}]}},
    ],
    ids=["a method", "a list", "a date", "sections in sections"],
)
def test_a_value_of_a_preset_reaches_a_refit_as_it_is(value: object, tmp_path: Path):
    from dvc.utils.hydra import apply_overrides

    file = tmp_path / "params.yaml"
    file.write_text("methods: {}\n")
    apply_overrides(file, [f"++methods.x={confirm.override(value)}"])
    assert YAML(typ="safe").load(file) == {"methods": {"x": value}}


@pytest.mark.parametrize(
    "presets",
    [
        [{"methods": {"wina_routed": None}, "profiles": {"wina_clustered": None}, "cluster": {"count": 3}}],
        [
            {"profiles": {"new": {"scheme": "task", "criterion": "wina", "allocation": "uniform"}}},
            {"profiles": {"new": {"criterion": "teal"}, "kl": {"criterion": "teal"}}, "seed": 3},
            {"profiles": {"new": None, "kl": None}, "methods": {"kl": None}},
        ],
        [{"methods": {"kl": None}}, {"methods": {"kl": {"profile": "greedy", "mask": "topk"}}}],
    ],
    ids=["an entry that goes", "one that came before it goes", "one that comes again"],
)
def test_a_refit_has_the_settings_with_all_presets(presets: list[dict[str, object]], tmp_path: Path):
    from dvc.utils.hydra import apply_overrides

    file, committed = tmp_path / "params.yaml", (ROOT / "params.yaml").read_text()
    expected, changes = committed, []
    for preset in presets:
        expected, more = preset_files.apply(preset, expected)
        changes += more
    file.write_text(committed)
    apply_overrides(file, confirm.overrides(changes, committed))
    yaml = YAML(typ="safe")
    assert yaml.load(file) == yaml.load(expected)


@pytest.mark.tried("errors", "refused")
def test_a_split_that_was_seen_with_another_protocol_is_refused_and_the_same_may_run_again(tmp_path: Path):
    file = tmp_path / "record.json"
    confirm.refuse_seen(ASKED, file)
    confirm.record(ASKED, file, "a" * 40, "c" * 64)
    confirm.refuse_seen(ASKED, file)
    confirm.record(ASKED, file, "b" * 40, "c" * 64)
    assert [run["commit"] for run in json.loads(file.read_text())] == ["a" * 40]
    other = replace(ASKED, smallest=2.0)
    with pytest.raises(UserError, match=rf"with one protocol.*salt {ASKED.salt}, run at commit aaaaaaaaaaaa"):
        confirm.refuse_seen(other, file)
    confirm.refuse_seen(replace(other, salt="another"), file)


def table_of(_schema: object, revision: str, path: str) -> pd.DataFrame:
    """Samples of four tasks, two of them one computation, and results whose accuracy falls; refits differ."""
    tasks, name = ("add", "add_free", "facts", "order"), Path(path).stem
    ids = [f"{task}/confirmation/{i}" for task in tasks for i in range(40)]
    if name == "samples":
        computations = [task.removesuffix("_free") if task != "order" else "" for task in tasks for _ in range(40)]
        texts = {"kind": "choice", "answer_ids": [[1, 2]] * len(ids)}
        return pd.DataFrame(
            {"sample_id": ids, "task": [i.split("/")[0] for i in ids], "computation": computations, **texts}
        )
    rng = np.random.default_rng([int(revision), len(name)])
    frames = []
    for target in (0.0,) if name == "dense" else (0.35, 0.5, 0.75):
        score = (rng.random(len(ids)) < 0.95 - 0.5 * target**2).astype(float)
        saved = target * (1 + 0.02 * rng.random(len(ids)))
        frames.append(pd.DataFrame({"sample_id": ids, "score": score, "flops": 1 - saved, "target": target}))
    constant = {"dense_flops": 1.0, "method": name, "split": "confirmation", "loglikelihood": -1.0}
    return pd.concat(frames, ignore_index=True).assign(**constant, realised_sparsity=0.5)


def test_a_run_records_itself_and_its_table_recomputes_to_the_answers_by_pandas(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confirm, "_run", lambda *given: str(given[-1]))
    monkeypatch.setattr(confirm, "_model", lambda _revision: "c" * 64)
    monkeypatch.setattr(confirm, "_table", table_of)
    confirm.main(None, "confirmation", repository)
    folder = repository / CONFIRMED
    answers = json.loads((folder / "answers.json").read_text())
    rows = DIFFERENCES.read(folder / "differences.parquet")
    [run] = json.loads((folder / "record.json").read_text())
    assert (run["salt"], run["presets"], run["model"]) == (ASKED.salt, list(ASKED.presets), "c" * 64)
    assert set(answers) == set(ASKED.questions) == set(rows["question"])
    for name, found in answers.items():
        own = rows[rows["question"] == name]
        k, n = own["refit"].nunique(), own["sample_id"].nunique()
        units = own.groupby("unit")["difference"].agg(["mean", "size"])
        mean, by_refit, c = own["difference"].mean(), own.groupby("refit")["difference"].mean(), len(units)
        over_units = c / (c - 1) * ((units["size"] / units["size"].sum()) ** 2 * (units["mean"] - mean) ** 2).sum()
        half = np.hypot(t.ppf(0.975, c - 1) * over_units**0.5, t.ppf(0.975, k - 1) * (by_refit.var() / k) ** 0.5)
        assert (found["samples"], found["units"], found["refits"]) == (n, c, k) == (160, 3, 3)
        interval = found["intervals"]["all"]
        assert [interval[key] for key in ("low", "value", "high")] == pytest.approx([mean - half, mean, mean + half])
        assert found["by_refit"] == pytest.approx(by_refit.tolist())
        assert found["words"].startswith(found["answer"])


def test_the_lines_of_pandas_in_the_results_page_print_the_intervals_of_the_answers(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(confirm, "_run", lambda *given: str(given[-1]))
    monkeypatch.setattr(confirm, "_model", lambda _revision: "c" * 64)
    monkeypatch.setattr(confirm, "_table", table_of)
    confirm.main(None, "confirmation", repository)
    answers = json.loads((repository / CONFIRMED / "answers.json").read_text())
    by_hand = (ROOT / "docs" / "results.md").read_text().partition("## By hand")[2].partition("\n## ")[0]
    lines = [line[4:] for line in by_hand.splitlines() if line.startswith("    ")]
    assert 10 < len(lines) <= 20
    exec("\n".join(lines), {})
    shown = {}
    for line in capsys.readouterr().out.splitlines():
        name, _, numbers = line.partition(": ")
        shown[name] = [float(number) for number in re.findall(r"[+-]?\d+\.\d+", numbers)]
    for name, found in answers.items():
        interval = found["intervals"]["all"]
        expected = [interval["value"], interval["low"], interval["high"], *found["by_refit"]]
        assert shown[name] == pytest.approx(expected, abs=0.005 + 1e-9)


def test_development_leaves_no_record_and_needs_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch):
    (repository / PROTOCOL).write_text("# changed\n" + (ROOT / PROTOCOL).read_text())
    monkeypatch.setattr(confirm, "_run", lambda *given: str(given[-1]))
    monkeypatch.setattr(confirm, "_model", lambda _revision: "c" * 64)
    monkeypatch.setattr(confirm, "_table", lambda *of: table_of(*of).replace({"split": {"confirmation": "test"}}))
    confirm.main(None, "test", repository)
    written = {file.name for file in (repository / "data" / "development").iterdir()}
    assert written == {"answers.json", "by_task.csv", "differences.parquet"}


def with_text(schema: object, revision: str, path: str) -> pd.DataFrame:
    """`table_of` with tasks `facts` and `order` as texts of two tokens."""
    table = table_of(schema, revision, path)
    is_text = table["sample_id"].str.startswith(("facts", "order"))
    if "kind" in table:
        return table.assign(kind=np.where(is_text, "text", "choice"), computation=table["task"])
    likely = np.where(is_text, -2 * (1 + table["target"] ** 2) - 0.01 * len(Path(path).stem), -1.0)
    return table.assign(score=table["score"].mask(is_text), loglikelihood=likely)


def test_a_study_asks_about_perplexity_and_evaluates_controls_with_the_first_fit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    yaml = YAML(typ="safe")
    written = yaml.load(repository / PROTOCOL)
    question = {"method": "clustered_routed", "baseline": "greedy", "target": 0.5}
    questions = {"accuracy": question, "text": question | {"perplexity_percent": 0.5}}
    study = repository / "docs" / "studies" / "other"
    study.mkdir()
    presets = [*written["presets"], "without"]
    (repository / "presets" / "without.yaml").write_text("methods: {greedy_prompt: null}\n")
    protocol = {"presets": presets, "questions": questions, "controls": {"wina_routed": "wina"}}
    yaml.dump(written | protocol, study / "protocol.yaml")
    git(repository, "add", "docs", "presets")
    git(repository, "commit", "-qm", "study")
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(confirm, "_model", lambda _revision: "c" * 64)
    monkeypatch.setattr(confirm, "_table", with_text)

    def run(settings: Settings, asking: Protocol, changed: list[str], _split: str, refit: int) -> str:
        assert {'++study="other"', '++benchmark.include="/tasks"', "~methods.greedy_prompt"} <= {*changed}
        assert settings.study == "other"
        asked.append((str(refit), asking.evaluated(refit)))
        return str(refit)

    monkeypatch.setattr(confirm, "_run", run)
    confirm.main("other", "confirmation", repository, tasks="/tasks")
    both = ["clustered_routed", "greedy"]
    assert asked == [("0", [*both, "wina_routed", "wina"]), ("1", both), ("2", both)]
    found = json.loads((study / "confirmation" / "answers.json").read_text())["text"]
    assert (found["samples"], found["units"], found["answer"]) == (80, 2, "no") and "percent" in found["words"]
    [(name, control)] = json.loads((study / "confirmation" / "controls.json").read_text()).items()
    assert (name, control["baseline"], control["target"]) == ("wina_routed", "wina", 0.5)
    assert control["perplexity"]["items"]["value"] < 0 and control["accuracy"].keys() == {"items", "units"}
    table = pd.read_csv(study / "confirmation" / "by_task.csv")
    assert set(table["method"]) == {"dense", *both, "wina_routed", "wina"}
    assert set(table.loc[table["perplexity"].notna(), "task"]) == {"facts", "order"}
