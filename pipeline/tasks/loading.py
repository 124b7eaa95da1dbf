"""Tasks by name: local files and lm-eval task YAMLs of a folder, and lm-eval's own tasks.

Group and tag names (`mmlu`) stand for all their tasks. A local file (`pipeline/tasks/local_files.py`) becomes an
lm-eval task like any other, so samples and evaluation know one kind of task only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from glob import escape
from pathlib import Path
from typing import cast

import datasets
import datasets.config
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from pipeline.tasks.folder import check_entries
from pipeline.tasks.local_files import SUFFIXES, local_files, local_task
from pipeline.tasks.repeatable import fixed_randomness
from pipeline.tasks.task_view import ROLLING, Prompting, TaskView, refusal, views_of
from pipeline.tasks.task_yamls import refuse_broken
from pipeline.tasks.text import from_rolling
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError
from wina_amp.models.source import ONLINE
from wina_amp.names import TRAIN


def load_tasks(
    include: str | Path, names: Iterable[str], prompting: Prompting | None = None, *, refit: int = 0
) -> dict[str, dict[str, TaskView]]:
    """Load tasks by name.

    Args:
        include: folder of task YAMLs and local files; lm-eval's own tasks are only looked at for names that are not
            found there (listing them takes many seconds).
        names: tasks, groups, tags or local files.
        prompting: None is each task's own way.
        refit: which of the draws of train documents.

    Returns: for every task, in order, its `train`, `test` and `confirmation` view (`train` alone where it is for
        training only).

    Raises:
        UserError: missing folder; unknown name; a name that is a YAML's and a file's; a task that cannot be loaded, has
            no documents to evaluate, or needs a kind of scoring that is not supported.
    """
    prompting, folder, names = prompting or Prompting(), Path(include), tuple(dict.fromkeys(names))
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a missing default for every task
    manager, files = _sources(folder, names)
    tasks: dict[str, Task] = {}
    requested_as: dict[str, list[str]] = {}
    for requested in names:
        for name, task in _load(manager, files, folder, requested, prompting.windows).items():
            tasks.setdefault(name, task)
            requested_as.setdefault(name, []).append(requested)
    return {
        name: views_of(
            name,
            task,
            prompting,
            subject=next(filter(None, (_subject(requested, name, task) for requested in requested_as[name])), ""),
            requested_as=requested_as[name],
            is_for_training=name in files and name in names and task.get_config("test_split") == TRAIN,
            refit=refit,
        )
        for name, task in tasks.items()
    }


def _sources(folder: Path, names: Sequence[str]) -> tuple[TaskManager, Mapping[str, Path]]:
    if not folder.is_dir():
        raise UserError(
            "`benchmark.include` must be a folder of lm-eval task YAMLs",
            found="no such folder",
            where=str(folder),
            remedy="correct `benchmark.include` in params.yaml, or restore the folder with `git checkout`",
        )
    check_entries(folder)
    files = local_files(folder)
    try:
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        own = {*manager.all_tasks, *files}
    except TypeError:  # a `task` that is no text
        refuse_broken(folder)
        raise
    for name in names:
        if name in manager.all_tasks and name in files:
            raise UserError(
                "A task must be either a YAML's or a local file's",
                found=f"a YAML task {name!r} and the file {files[name].name}",
                where=str(folder),
                remedy="rename one of them; a file that only the YAML reads belongs into a folder of its own",
            )
    if set(names) <= own:
        return manager, files
    refuse_broken(folder, set(names) - own)
    manager = TaskManager(include_path=str(folder), include_defaults=True)
    if not set(names) <= {*manager.all_tasks, *files}:
        refuse_broken(folder)
    return manager, files


def _load(
    manager: TaskManager, files: Mapping[str, Path], folder: Path, name: str, windows: Windows
) -> dict[str, Task]:
    """The tasks that a name stands for."""
    if name not in files and name not in manager.all_tasks:
        others = sorted(path.name for path in folder.glob(f"{escape(name)}.*") if path.suffix not in (".yaml", ".py"))
        if others:
            remedy = "convert the file and rename it; docs/tasks.md describes what may be in it"
            must = f"A local file must end in {', '.join(SUFFIXES)}"
            raise UserError(must, found=others[0], where=str(folder), remedy=remedy)
        known = [*files, *manager.all_tasks]
        similar = ", ".join(get_close_matches(name, known, n=3))
        raise UserError(
            f"`benchmark.tasks` must name tasks of `benchmark.include` or of lm-eval ({len(known)} known)",
            found=repr(name),
            where="`benchmark.tasks` or `benchmark.calibration` in params.yaml",
            remedy=f"{f'did you mean {similar}? ' if similar else ''}`lm-eval ls tasks` lists lm-eval's own",
        )
    try:
        if name in files:
            return {name: local_task(files[name], windows)}
        with fixed_randomness():
            tasks = cast(Mapping[str, Task], manager.load([name])["tasks"])
            return {
                key: from_rolling(key, task, windows) if task.OUTPUT_TYPE == ROLLING else task
                for key, task in tasks.items()
            }
    except UserError:
        raise
    except IndexError as error:  # lm-eval looks at the first document of every task it loads
        is_empty = "size 0" in str(error)
        rule = "have at least one document, and its right choice among its choices"
        found = "none" if is_empty else f"none, or none of its choices named as right ({error})"
        remedy = "remove it from `benchmark.tasks`" if is_empty else "correct its YAML or its data"
        raise refusal(name, rule, found, remedy) from error
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        remedy = ONLINE if "offline" in problem.lower() else "correct its YAML or its data"
        if isinstance(error, OSError) and str(datasets.config.HF_CACHE_HOME) in problem:
            remedy = "set HF_HOME to a folder that can be written"
        raise refusal(name, "be loadable", problem, remedy) from error


def _subject(requested: str, name: str, task: Task) -> str:
    """The subject of a task of a group (`mmlu_anatomy` of `mmlu`): its alias, or its name less the group's.

    Empty for a task that was requested by its own name, and where the names have nothing in common.
    """
    if requested == name:
        return ""
    alias = cast(str | None, task.get_config("task_alias"))
    return alias or (name.removeprefix(f"{requested}_") if name.startswith(f"{requested}_") else "")
