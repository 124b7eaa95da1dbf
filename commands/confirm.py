"""confirm: ask the questions of protocol.yaml, once, on the confirmation split. Not a DVC stage.

    python -m commands.confirm                    the confirmation split: needs a committed protocol.yaml
    python -m commands.confirm --development      the same questions on the split `test`, as often as one likes

The settings are those of params.yaml with the protocol's presets; the first run is of what is committed. A refit is a
DVC experiment in a temporary folder: the pipeline with `benchmark.refit: r` and `seed: seed + r`, up to the results of
the methods that are asked about. It is one number more in two settings; as names in `schemes`,
`profiles`, `route` and `methods` (`greedy.1`) every stage would have to know of refits, and every page of them. Stages
that no refit changes come from DVC's run cache.

The answers go to `data/confirmation` (or `data/development`): a row for every question, refit and sample, from which
twenty lines of pandas recompute the intervals (docs/results.md), the answers, and a record of the protocols that were
run. A salt that another protocol has been run with is refused: its split has been seen.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import pandas as pd

from commands import preset_files
from pipeline.config import protocol
from pipeline.config.params import PARAMS, Settings
from pipeline.config.protocol import PROTOCOL, Protocol
from pipeline.protocol.answers import answer, unit_of
from pipeline.protocol.differences import differences
from pipeline.storage.schemas import DIFFERENCES, RESULTS, SAMPLES
from stages.inputs import paths
from stages.run import run_command
from wina_amp.atomic import replacing
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.names import CONFIRMATION, DENSE, TEST

FOLDERS = {CONFIRMATION: "data/confirmation", TEST: "data/development"}
RECORD = "record.json"

Out = TypeVar("Out")

log = logging.getLogger("commands.confirm")


def main(asked: Protocol, split: str, root: Path) -> None:
    """Run every refit and write the answers.

    Raises:
        UserError: a protocol that does not fit the settings or, of the confirmation split, is not committed or is
            another one than the split has been run with; a refit that fails.
    """
    presets = [preset_files.load(name) for name in asked.presets]
    _text, changes, settings = preset_files.apply_all(presets, (root / PARAMS).read_text(encoding="utf-8"))
    protocol.check(asked, settings)
    folder = root / FOLDERS[split]
    if split == CONFIRMATION:
        refuse_uncommitted(root, PROTOCOL, PARAMS, *(f"{preset_files.FOLDER}/{name}.yaml" for name in asked.presets))
        refuse_seen(asked, folder / RECORD)
    changed = {change.name: change.after for change in changes}
    revisions = [_run(settings, asked, changed, split, refit) for refit in range(asked.refits)]
    folder.mkdir(parents=True, exist_ok=True)
    if split == CONFIRMATION:
        record(asked, folder / RECORD, _git(root, "rev-parse", "HEAD"), _model(revisions[0]))
    rows = pd.concat([_rows(asked, revision, split, refit) for refit, revision in enumerate(revisions)])
    DIFFERENCES.write(rows, str(folder / "differences.parquet"))
    answers = {
        str(name): answer(own, asked.smallest, asked.confidence) for name, own in rows.groupby("question", sort=False)
    }
    with replacing(folder / "answers.json") as file:
        file.write_text(json.dumps({name: asdict(found) for name, found in answers.items()}, indent=2) + "\n")
    for name, found in answers.items():
        question = asked.questions[name]
        log.info("%s: %s minus %s at %g: %s", name, question.method, question.baseline, question.target, found.words)


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
                remedy=f"restore that {PROTOCOL}; or choose another salt, which draws a split that nobody has seen",
            )


def record(asked: Protocol, file: Path, commit: str, model: str) -> None:
    """Add a run to the record, unless it is there already."""
    runs = _recorded(file)
    if asked.digest not in [run["protocol"] for run in runs]:
        own = {"salt": asked.salt, "protocol": asked.digest, "commit": commit, "model": model}
        runs.append({**own, "presets": list(asked.presets)})
        with replacing(file) as new:
            new.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


def _recorded(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _run(settings: Settings, asked: Protocol, changed: Mapping[str, object], split: str, refit: int) -> str:
    """Run one refit, with the settings that presets have changed, as an experiment; its name."""
    name = f"{split}-{asked.salt}-{refit}"
    changes = {
        **changed,
        "seed": settings.seed + refit,
        "benchmark.refit": refit,
        "benchmark.confirmation_samples": asked.samples if split == CONFIRMATION else 0,
        "evaluate.splits": [split],
        "evaluate.test_samples": None,
        "evaluate.primary": None,
    }
    stages = [DENSE, *(f"evaluate@{method}" for method in asked.methods)]
    dvc = [sys.executable, "-m", "dvc", "exp"]
    subprocess.run([*dvc, "remove", name], capture_output=True, check=False)
    options = [f"--set-param=++{setting}={override(value)}" for setting, value in changes.items()]
    done = subprocess.run([*dvc, "run", "--temp", "--name", name, *options, *stages], check=False)
    if done.returncode:
        raise UserError(
            "Every refit must run to its end",
            found=f"exit code {done.returncode} of refit {refit}",
            where=f"experiment {name}",
            remedy="read what DVC says above; what was finished is kept, so that the next run goes on from there",
        )
    return name


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


def _rows(asked: Protocol, revision: str, split: str, refit: int) -> pd.DataFrame:
    """The rows of one refit, all questions."""
    samples: Any = _table(SAMPLES, revision, paths.SAMPLES)[["sample_id", "task", "computation"]]
    results = {name: _table(RESULTS, revision, paths.results(name)) for name in (DENSE, *asked.methods)}
    results = {name: rows[rows["split"] == split] for name, rows in results.items()}
    tables: list[pd.DataFrame] = []
    for name, question in asked.questions.items():
        compared = (results[DENSE], results[question.method], results[question.baseline])
        rows: Any = differences(*compared, question.target).merge(samples, on="sample_id", validate="one_to_one")
        tables.append(rows.assign(question=name, refit=refit, unit=unit_of(rows)).drop(columns="computation"))
    return pd.concat(tables)


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
    parser = argparse.ArgumentParser(prog="confirm", description="Ask the questions of protocol.yaml.")
    parser.add_argument("--development", action="store_true", help="on the split `test`, as often as one likes")
    given = parser.parse_args()
    asked_of = TEST if given.development else CONFIRMATION
    run_command("confirm", lambda: main(protocol.load(), asked_of, Path.cwd()))
