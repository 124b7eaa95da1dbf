"""confirm: ask the questions of a study's protocol, once, on the confirmation split. Not a DVC stage.

    python -m commands.confirm                    docs/studies/embedded/protocol.yaml, on the confirmation split
    python -m commands.confirm --development      the same questions on the split `test`, as often as one likes
    python -m commands.confirm --study gemma-3-270m --model /models/gemma-3-270m --tasks /data/tasks

The settings are those of params.yaml with the protocol's presets; protocol and settings must be committed. `--model`
and `--tasks` say where this machine has the checkpoint (`--revision`: which commit of the hub) and the tasks' folder,
outside the repository, because a refit runs in a copy of what is in Git. A refit is a DVC experiment in a temporary
folder: the pipeline with `benchmark.refit: r` and `seed: seed + r`, up to the results of the methods that are asked
about. It is one number more in two settings; as names in `schemes`, `profiles`, `route` and `methods` (`greedy.1`)
every stage would have to know of refits, and every page of them. Stages that no refit changes come from DVC's run
cache.

Methods that the protocol calls `controls` are evaluated on the same items, once, with the first fit.

The answers go to `confirmation` beside the protocol (or to `data/development`): a row for every question, refit and
sample, from which twenty lines of pandas recompute the intervals (docs/results.md), the answers, a table of all methods
by task, and a record of the protocols that were run. A salt that another protocol has been run with is refused: its
split has been seen.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import pandas as pd
from ruamel.yaml import YAML

from commands import preset_files
from commands.preset_files import Change
from pipeline.config import params, protocol
from pipeline.config.params import PARAMS, Settings
from pipeline.config.protocol import Protocol
from pipeline.protocol.answers import Answer, answer, unit_of
from pipeline.protocol.by_task import by_task
from pipeline.protocol.differences import differences
from pipeline.statistics.refits import unit_intervals
from pipeline.storage.schemas import DIFFERENCES, RESULTS, SAMPLES
from stages.inputs import paths
from stages.run import run_command
from wina_amp.atomic import replacing
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.names import CONFIRMATION, DENSE, TEST, TEXT

DEVELOPMENT = "data/development"
RECORD = "record.json"
PERCENT = "percent"

Out = TypeVar("Out")

log = logging.getLogger("commands.confirm")


def main(
    study: str | None,
    split: str,
    root: Path,
    *,
    model: str | None = None,
    revision: str | None = None,
    tasks: str | None = None,
) -> None:
    """Run every refit and write the answers.

    Args:
        study: folder below docs/studies; None is the one of params.yaml.
        split: `confirmation`, or `test` for the development samples.
        root: of the repository.
        model, revision, tasks: where this machine has the checkpoint (or which commit of the hub), and the tasks.

    Raises:
        UserError: a protocol that does not fit the settings or, of the confirmation split, is not committed or is
            another one than the split has been run with; a refit that fails.
    """
    study = params.load(root / PARAMS).study if study is None else study
    asked = protocol.load(root / protocol.file_of(study))
    own = (revision, model)
    presets = [preset_files.load(name, *((None, None) if at else own)) for at, name in enumerate(asked.presets)]
    include = [{"benchmark": {"include": tasks}}] if tasks is not None else []
    text = (root / PARAMS).read_text(encoding="utf-8")
    _text, changes, settings = preset_files.apply_all([{"study": study}, *presets, *include], text)
    protocol.check(asked, settings)
    folder = root / (f"{protocol.STUDIES}/{study}/confirmation" if split == CONFIRMATION else DEVELOPMENT)
    if split == CONFIRMATION:
        committed = (f"{preset_files.FOLDER}/{name}.yaml" for name in asked.presets)
        refuse_uncommitted(root, protocol.file_of(study), PARAMS, *committed)
        refuse_seen(asked, folder / RECORD)
    changed = overrides(changes, text)
    revisions = [_run(settings, asked, changed, split, refit) for refit in range(asked.refits)]
    folder.mkdir(parents=True, exist_ok=True)
    if split == CONFIRMATION:
        record(asked, folder / RECORD, _git(root, "rev-parse", "HEAD"), _model(revisions[0]))
    dense = _results(revisions[0], DENSE, split)
    fits = [Fit.read(revision, asked.evaluated(refit), split, dense) for refit, revision in enumerate(revisions)]
    rows = pd.concat([_rows(asked, fit).assign(refit=refit) for refit, fit in enumerate(fits)])
    DIFFERENCES.write(rows, str(folder / "differences.parquet"))
    answers = {str(name): _answer(asked, str(name), own) for name, own in rows.groupby("question", sort=False)}
    _write_json(folder / "answers.json", {name: asdict(found) for name, found in answers.items()})
    if asked.controls:
        _write_json(folder / "controls.json", _controls(asked, fits[0]))
    tables = pd.concat([fit.by_task().assign(refit=refit) for refit, fit in enumerate(fits)])
    with replacing(folder / "by_task.csv") as file:
        tables.to_csv(file, index=False, float_format="%.6g")
    for name, found in answers.items():
        question = asked.questions[name]
        log.info("%s: %s minus %s at %g: %s", name, question.method, question.baseline, question.target, found.words)


def _answer(asked: Protocol, name: str, rows: pd.DataFrame) -> Answer:
    percent = asked.questions[name].perplexity_percent
    if percent is None:
        return answer(rows, asked.smallest, asked.confidence)
    return answer(rows, percent, asked.confidence, PERCENT)


def _controls(asked: Protocol, fit: Fit) -> dict[str, dict[str, Any]]:
    """Differences of every control to the method that it is compared with, of one fit: on tasks, and on texts."""
    target = next(iter(asked.questions.values())).target
    found: dict[str, dict[str, Any]] = {}
    for name, baseline in (asked.controls or {}).items():
        found[name] = {"baseline": baseline, "target": target}
        for endpoint, of_texts in (("accuracy", False), *([("perplexity", True)] if fit.text_tokens else [])):
            rows = fit.compare(name, baseline, target, of_texts=of_texts)
            intervals = unit_intervals(rows["difference"].to_numpy(), rows["unit"].to_numpy(str), asked.confidence)
            found[name][endpoint] = asdict(intervals)
    return found


def _write_json(file: Path, content: object) -> None:
    with replacing(file) as new:
        new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def refuse_uncommitted(root: Path, *files: str) -> None:
    """Raise a `UserError` unless the files are what the last commit has."""
    for file in files:
        is_known = _git(root, "ls-files", "--", file)
        if not is_known or _git(root, "status", "--porcelain", "--", file):
            raise UserError(
                f"{file} must be committed before the confirmation split is run",
                found="a change" if is_known else "a file that git does not know",
                where=str(root / file),
                remedy=f"`git commit {file}`, or take the change back",
            )


def refuse_seen(asked: Protocol, file: Path) -> None:
    """Raise a `UserError` where the split of this salt has been run with another protocol."""
    for run in _recorded(file):
        if run["salt"] == asked.salt and run["protocol"] != asked.digest:
            raise UserError(
                "A confirmation split must be run with one protocol",
                found=f"salt {asked.salt}, run at commit {run['commit'][:12]} with another one",
                where=str(file),
                remedy="restore that protocol; or choose another salt, which draws a split that nobody has seen",
            )


def record(asked: Protocol, file: Path, commit: str, model: str) -> None:
    """Add a run to the record, unless it is there already."""
    runs = _recorded(file)
    if asked.digest not in [run["protocol"] for run in runs]:
        own = {"salt": asked.salt, "protocol": asked.digest, "commit": commit, "model": model}
        runs.append({**own, "presets": list(asked.presets)})
        _write_json(file, runs)


def _recorded(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _run(settings: Settings, asked: Protocol, changed: Sequence[str], split: str, refit: int) -> str:
    """Run one refit, with the settings that presets have changed, as an experiment; its name."""
    name = f"{split}-{asked.salt}-{refit}"
    changes = {
        "seed": settings.seed + refit,
        "benchmark.refit": refit,
        "benchmark.confirmation_samples": asked.samples if split == CONFIRMATION else 0,
        "evaluate.splits": [split],
        "evaluate.targets": sorted({question.target for question in asked.questions.values()}),
        "evaluate.test_samples": None,
        "evaluate.primary": None,
    }
    stages = [*([DENSE] if refit == 0 else []), *(f"evaluate@{method}" for method in asked.evaluated(refit))]
    dvc = [sys.executable, "-m", "dvc", "exp"]
    subprocess.run([*dvc, "remove", name], capture_output=True, check=False)
    own = [f"++{setting}={override(value)}" for setting, value in changes.items()]
    options = [f"--set-param={one}" for one in [*changed, *own]]
    done = subprocess.run([*dvc, "run", "--temp", "--name", name, *options, *stages], check=False)
    if done.returncode:
        raise UserError(
            "Every refit must run to its end",
            found=f"exit code {done.returncode} of refit {refit}",
            where=f"experiment {name}",
            remedy="read what DVC says above; what was finished is kept, so that the next run goes on from there",
        )
    return name


def overrides(changes: Iterable[Change], text: str) -> list[str]:
    """What presets have changed in the text of params.yaml, for `dvc exp run --set-param`; the last change of a name
    holds, and a name that params.yaml has not is not taken out of it."""
    known = YAML(typ="safe").load(text)
    removed, values = dict[str, None](), dict[str, object]()
    for change in changes:
        if change.leaves_out:
            values = {name: value for name, value in values.items() if not f"{name}.".startswith(f"{change.name}.")}
            if reduce(lambda at, key: at.get(key, {}), change.name.split("."), known):
                removed[change.name] = None
        else:
            values[change.name] = change.after
    return [*(f"~{name}" for name in removed), *(f"++{name}={override(value)}" for name, value in values.items())]


def override(value: object) -> str:
    """A setting's value in the grammar of `dvc exp run --set-param` (Hydra's): JSON, but for keys without quotes."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{override(one)}" for key, one in cast(Mapping[str, object], value).items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(override, cast(Sequence[object], value))) + "]"
    return json.dumps(value)


def _model(revision: str) -> str:
    """The digest of the checkpoint of an experiment."""
    return _from_cache(revision, paths.MANIFEST, lambda file: manifest.read(file).digest)


@dataclass(frozen=True)
class Fit:
    """What one refit has found: its samples, and the results of every method, dense included."""

    samples: pd.DataFrame
    results: Mapping[str, pd.DataFrame]

    @classmethod
    def read(cls, revision: str, methods: Iterable[str], split: str, dense: pd.DataFrame) -> Fit:
        """The tables of an experiment, and the dense model's results, which no refit changes."""
        samples = _table(SAMPLES, revision, paths.SAMPLES)
        return cls(
            samples[["sample_id", "kind", "task", "computation", "answer_ids"]],
            {DENSE: dense, **{name: _results(revision, name, split) for name in methods}},
        )

    @property
    def text_tokens(self) -> Mapping[str, int]:
        """Scored tokens of every text, by sample."""
        texts: Any = self.samples[self.samples["kind"] == TEXT]
        return dict(zip(texts["sample_id"], texts["answer_ids"].map(len), strict=True))

    def compare(self, method: str, baseline: str, target: float, *, of_texts: bool) -> pd.DataFrame:
        """`differences` of two methods, on texts or on what can be right, with task and unit of every sample."""
        dense, first, second = (self.results[name] for name in (DENSE, method, baseline))
        labels = self.samples[["sample_id", "task", "computation"]]
        rows: Any = differences(dense, first, second, target, self.text_tokens if of_texts else None)
        rows = rows.merge(labels, on="sample_id", validate="1:1")
        return rows.assign(unit=unit_of(rows)).drop(columns="computation")

    def by_task(self) -> pd.DataFrame:
        """Of every method and task."""
        return by_task(pd.concat(self.results.values()), self.samples)


def _rows(asked: Protocol, fit: Fit) -> pd.DataFrame:
    """The rows of one refit, all questions."""
    return pd.concat(
        [
            fit.compare(own.method, own.baseline, own.target, of_texts=own.perplexity_percent is not None).assign(
                question=name
            )
            for name, own in asked.questions.items()
        ]
    )


def _results(revision: str, method: str, split: str) -> pd.DataFrame:
    rows = _table(RESULTS, revision, paths.results(method))
    return rows[rows["split"] == split]


def _table(table: Any, revision: str, path: str) -> Any:
    """A table of an experiment."""
    return _from_cache(revision, path, table.read)


def _from_cache(revision: str, path: str, read: Callable[[str], Out]) -> Out:
    """What an experiment holds at a path, from DVC's cache."""
    from dvc import api

    with TemporaryDirectory() as folder:
        api.DVCFileSystem(rev=revision).get_file(path, copy := f"{folder}/copy")
        return read(copy)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="confirm", description="Ask the questions of a study's protocol.yaml.")
    parser.add_argument("--development", action="store_true", help="on the split `test`, as often as one likes")
    parser.add_argument("--study", help="folder below docs/studies; without, the one of params.yaml")
    parser.add_argument("--model", help="checkpoint instead of the preset's: a folder, or a hub id with --revision")
    parser.add_argument("--revision", help="commit of the checkpoint on the Hugging Face hub")
    parser.add_argument("--tasks", help="folder of the tasks instead of `benchmark.include`, outside the repository")
    given = parser.parse_args()
    asked_of = TEST if given.development else CONFIRMATION
    where = {"model": given.model, "revision": given.revision, "tasks": given.tasks}
    run_command("confirm", lambda: main(given.study, asked_of, Path.cwd(), **where))
