"""tasks: lm-eval's own tasks on published benchmark files of this disk, as a folder for `benchmark.include`.

    python -m commands.tasks <folder with the files> data/tasks

Every task is lm-eval's, key by key: prompts, choices, examples, filters and metrics are copied from its YAML, functions
are named as those of the installed lm-eval. Only where rows come from is another: JSON lines below `_rows`, in the
columns that the hub's data sets have (`commands/published.py`). lm-eval's own command reads the folder, too:
`lm_eval --include_path data/tasks`.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from commands.published import FORMATS, PUBLISHED, Row
from stages.run import run_command
from wina_amp.atomic import refuse_full, replacing
from wina_amp.errors import UserError

log = logging.getLogger("commands.tasks")

YAMLS = {
    "piqa": "piqa/piqa.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "hellaswag_without_label": "hellaswag/hellaswag.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "winogrande": "winogrande/default.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "boolq": "super_glue/boolq/default.yaml",
}
OTHERWISE = {
    # A copy that has lost the activity, with which lm-eval's prompts begin, and which words of the context are `ctx_b`.
    "hellaswag_without_label": {"task": "hellaswag_without_label", "tag": None, "process_docs": None},
}
"""What a task changes of lm-eval's YAML, under a name of its own."""

MMLU = "mmlu/default"
"""A YAML for every subject, and for the groups of them."""

ROWS = "_rows"
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class _Function(str):
    """The name of a function of lm-eval, written with `!function`."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))


@dataclass(frozen=True)
class OwnTask:
    """A task or group of lm-eval, to be written with its rows.

    Attributes:
        name: lm-eval's.
        config: its YAML, includes resolved.
        rows: split -> documents; empty for a group.
    """

    name: str
    config: Mapping[str, Any]
    rows: Mapping[str, list[Row]] = field(default_factory=dict)


def main(source: Path, folder: Path) -> None:
    """Write the folder, and say which tasks are in it.

    Raises:
        UserError: no task of which there are files; a folder with something in it; files that are not as published, or
            that lack a split which lm-eval reads or a subject of MMLU.
    """
    refuse_full(folder)
    configs = {name: _config(tasks_folder() / path) | OTHERWISE.get(name, {}) for name, path in YAMLS.items()}
    made = [_with_rows(name, name, config, source) for name, config in configs.items()]
    tasks = [task for task in made if task is not None]
    mmlu = subjects(source)
    if not tasks and not mmlu:
        must = "The folder must hold files of a benchmark"
        known = ", ".join(PUBLISHED)
        raise UserError(must, found=f"none of {known}", where=str(source), remedy=FORMATS)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for task in (*tasks, *mmlu):
            write(task, temporary, folder)
    for task in tasks:
        log.info("%s: %s", task.name, ", ".join(f"{len(rows):,} {split}" for split, rows in task.rows.items()))
    if mmlu:
        of_subjects = [task.rows["test"] for task in mmlu if task.rows]
        log.info("mmlu: %d subjects, %s test", len(of_subjects), f"{sum(map(len, of_subjects)):,}")
    missing = PUBLISHED.keys() - {task.name for task in (*tasks, *mmlu)}
    if missing:
        log.info("No files of %s", ", ".join(sorted(missing)))
    log.info("Set `benchmark.include: %s` in params.yaml, and the tasks.", folder)


def subjects(source: Path) -> list[OwnTask]:
    """lm-eval's groups of MMLU and a task for every subject; empty where there are no files.

    Raises:
        UserError: files of some subjects only; files that are not as published.
    """
    configs = [_config(path) for path in sorted((tasks_folder() / MMLU).glob("*.yaml"))]
    groups = [OwnTask(config["group"], config) for config in configs if "group" in config]
    of_subjects = [config for config in configs if "group" not in config]
    made = [_with_rows(config["task"], "mmlu", config, source) for config in of_subjects]
    there = [task for task in made if task is not None]
    if there and len(there) < len(made):
        lacking = [config["dataset_name"] for config, task in zip(of_subjects, made, strict=True) if task is None]
        must, found = f"MMLU must have the files of its {len(made)} subjects", f"none of {', '.join(lacking)}"
        raise UserError(must, found=found, where=str(source), remedy="add them, or take all of MMLU's files away")
    return [*groups, *there] if there else []


def write(task: OwnTask, folder: Path, final: Path) -> None:
    """Write a task's YAML and rows into `folder`, whose name will be `final`: the YAML says where its rows are, which
    lm-eval resolves against the working directory.
    """
    files: dict[str, str] = {}
    for split, rows in task.rows.items():
        below = Path(ROWS, task.name, f"{split}.jsonl")
        (folder / below).parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        (folder / below).write_text(text, encoding="utf-8", newline="\n")
        files[split] = str(final / below)
    data = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}} if files else {}
    text = yaml.dump({**task.config, **data}, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    (folder / f"{task.name}.yaml").write_text(text, encoding="utf-8", newline="\n")


def _with_rows(name: str, published: str, config: Mapping[str, Any], source: Path) -> OwnTask | None:
    """lm-eval's task with the rows that are in the user's folder; None where there are none to be evaluated."""
    format_, subject = PUBLISHED[published], config["dataset_name"] if published == "mmlu" else ""
    asked = {key: split for key in SPLITS if (split := config.get(key)) is not None}
    files = {split: format_.file(source, split, subject) for split in dict.fromkeys(asked.values())}
    if files[config.get("test_split") or config["validation_split"]] is None:
        return None
    examples = config.get("fewshot_split")
    if examples is not None and files[examples] is None:
        must, found = f"{name} needs the split {examples} for solved examples", "no such file"
        raise UserError(must, found=found, where=str(source), remedy=FORMATS)
    rows = {split: format_.documents(file) for split, file in files.items() if file is not None}
    lacking = {key: None for key, split in asked.items() if split not in rows}
    return OwnTask(name, {**config, **lacking}, rows)


def tasks_folder() -> Path:
    """Where the YAMLs of the installed lm-eval are."""
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


def _config(path: Path) -> dict[str, Any]:
    """A YAML of lm-eval with what it includes; functions by the names of their modules."""
    from lm_eval.tasks._yaml_loader import load_yaml

    return {key: _named(value) for key, value in load_yaml(path, resolve_func=False).items()}


def _named(value: Any) -> Any:
    """`<lm-eval's tasks>/hellaswag/utils.process_docs` as `!function lm_eval.tasks.hellaswag.utils.process_docs`."""
    root = str(tasks_folder().parent.parent)
    if isinstance(value, str) and value.startswith(root):
        return _Function(value.removeprefix(root).strip("/").replace("/", "."))
    return value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tasks", description="lm-eval's own tasks on files of this disk.")
    parser.add_argument("source", type=Path, help="folder with published files, at any depth")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("data/tasks"), help="to write; default data/tasks")
    given = parser.parse_args()
    run_command("tasks", lambda: main(given.source, given.folder))
