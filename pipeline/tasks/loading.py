"""Tasks by name: local files and lm-eval task YAMLs of a folder, and lm-eval's own tasks.

Group and tag names (`mmlu`) stand for all their tasks. A local file (`pipeline/tasks/local.py`) becomes an lm-eval
task like any other, so samples and evaluation know of one kind of task only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import datasets
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from pipeline.tasks.local import local_files, local_task
from pipeline.tasks.text import from_rolling
from pipeline.tasks.views import ROLLING, Prompting, TaskView, refusal, views_of
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError


@dataclass
class _Found:
    task: Task
    subject: str
    is_for_training: bool
    asked_as: list[str] = field(default_factory=list)


def load_tasks(
    include: str | Path, names: Iterable[str], prompting: Prompting | None = None
) -> dict[str, dict[str, TaskView]]:
    """Load tasks by name.

    Args:
        include: folder of task YAMLs and local files; lm-eval's own tasks are only looked at for names that are not
            found there (listing them takes many seconds).
        names: tasks, groups, tags or local files.
        prompting: how documents become prompts; None is each task's own way.

    Returns: for every task, in order, its `train` and its `test` view (no `test` where it is for training only).

    Raises:
        UserError: missing folder; unknown name; a name that is a YAML's and a file's; a task that cannot be loaded, has
            no documents to evaluate, or needs a kind of scoring that is not supported.
    """
    prompting, folder, names = prompting or Prompting(), Path(include), tuple(dict.fromkeys(names))
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a missing default for every task
    manager, files = _sources(folder, names)
    found: dict[str, _Found] = {}
    for name in names:
        for task_name, one in _load(manager, files, name, prompting.windows).items():
            known = found.setdefault(task_name, one)
            known.asked_as.append(name)
            known.subject = known.subject or one.subject
    return {
        name: views_of(
            name,
            one.task,
            prompting,
            subject=one.subject,
            asked_as=one.asked_as,
            is_for_training=one.is_for_training,
        )
        for name, one in found.items()
    }


def _sources(folder: Path, names: Sequence[str]) -> tuple[TaskManager, Mapping[str, Path]]:
    if not folder.is_dir():
        raise UserError(
            "`benchmark.include` must be a folder of lm-eval task YAMLs",
            found="no such folder",
            where=str(folder),
            remedy="correct `benchmark.include` in params.yaml, or restore the folder with `git checkout`",
        )
    manager, files = TaskManager(include_path=str(folder), include_defaults=False), local_files(folder)
    for name in names:
        if name in manager.all_tasks and name in files:
            raise UserError(
                "A task must be either a YAML's or a local file's",
                found=f"a YAML task {name!r} and the file {files[name].name}",
                where=str(folder),
                remedy="rename one of them; a file that only the YAML reads belongs into a folder of its own",
            )
    if set(names) <= {*manager.all_tasks, *files}:
        return manager, files
    return TaskManager(include_path=str(folder), include_defaults=True), files


def _load(manager: TaskManager, files: Mapping[str, Path], name: str, windows: Windows) -> dict[str, _Found]:
    """The tasks that a name stands for."""
    if name not in files and name not in manager.all_tasks:
        known = [*files, *manager.all_tasks]
        near = ", ".join(get_close_matches(name, known, n=3))
        raise UserError(
            f"`benchmark.tasks` must name tasks of `benchmark.include` or of lm-eval ({len(known)} known)",
            found=repr(name),
            where="`benchmark.tasks` or `benchmark.calibration` in params.yaml",
            remedy=f"{f'did you mean {near}? ' if near else ''}`lm-eval ls tasks` lists lm-eval's own",
        )
    try:
        if name in files:
            task = local_task(files[name], windows)
            return {name: _Found(task, "", is_for_training=task.get_config("test_split") == "train")}
        tasks = cast(Mapping[str, Task], manager.load([name])["tasks"])
        return {
            key: _Found(_askable(key, task, windows), _subject(name, key, task), is_for_training=False)
            for key, task in tasks.items()
        }
    except UserError:
        raise
    except IndexError as error:  # lm-eval looks at the first document of every task it loads
        raise refusal(name, "have at least one document", "none", "remove it from `benchmark.tasks`") from error
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise refusal(name, "be loadable", found, "correct its YAML or its data") from error


def _askable(name: str, task: Task, windows: Windows) -> Task:
    return from_rolling(name, task, windows) if task.OUTPUT_TYPE == ROLLING else task


def _subject(asked: str, name: str, task: Task) -> str:
    """What tells a task of a group (`mmlu_anatomy` of `mmlu`) from the others: its alias, or its name less the group's.

    Empty for a task that was asked for by its own name, and where the names have nothing in common.
    """
    if asked == name:
        return ""
    alias = cast(str | None, task.get_config("task_alias"))
    return alias or (name.removeprefix(f"{asked}_") if name.startswith(f"{asked}_") else "")
