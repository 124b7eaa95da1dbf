"""`wina-amp eval`: a model with a profile set on tasks of lm-eval."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wina_amp.atomic import replacing
from wina_amp.cli.output import json_of, show_table
from wina_amp.errors import UserError


def evaluate(
    model: str,
    profile_set: str,
    tasks: list[str],
    *,
    sparsity: float,
    group: str | None,
    limit: int | None,
    include_path: Path | None,
    device: str,
    dtype: str,
) -> dict[str, Any]:
    """lm-eval's scores of every task, what was realised, the groups that prompts had, and what was run.

    Raises:
        UserError: lm-eval is not installed, knows no such task, or see `SparseLM`.
    """
    if find_spec("lm_eval") is None:
        must, remedy = "`wina-amp eval` needs the package lm_eval", 'install it: pip install "wina-amp[lm-eval]"'
        raise UserError(must, found="it is not installed", where="this environment", remedy=remedy)
    import lm_eval
    from lm_eval.tasks import TaskManager

    from wina_amp import harness

    run: Any = lm_eval
    model_of: Any = harness.SparseLM
    manager: Any = TaskManager(include_path=None if include_path is None else str(include_path))
    unknown = sorted(set(tasks) - set(manager.all_tasks))
    if unknown:
        must, remedy = "Every task must be one of lm-eval, or lie in --include-path", "correct the name"
        raise UserError(must, found=", ".join(unknown), where="--tasks", remedy=remedy)
    options = {"sparsity": sparsity, "group": group, "device": device, "dtype": dtype}
    sparse = model_of(pretrained=model, profile_set=profile_set, **options)
    results: Any = run.simple_evaluate(sparse, tasks=list(tasks), task_manager=manager, limit=limit)
    scores = [
        {"task": task, "metric": name.removesuffix(",none"), "value": value, "stderr": _number(row, name)}
        for task, row in results["results"].items()
        for name, value in row.items()
        if isinstance(value, float) and "_stderr" not in name
    ]
    asked = {"model": model, "set": profile_set, "sparsity": sparsity, "limit": limit}
    return {**asked, "realised_sparsity": sparse.realised_sparsity, "groups": dict(sparse.groups), "scores": scores}


def write(result: Mapping[str, Any], file: Path) -> None:
    """Write the result as JSON, atomically."""
    with replacing(file) as temporary:
        temporary.write_text(json_of(result), encoding="utf-8")


def show(result: Mapping[str, Any]) -> None:
    """Write the scores, and below them what was realised and the groups."""
    rows = [
        [row["task"], row["metric"], row["value"], "" if row["stderr"] is None else f"{row['stderr']:.4f}"]
        for row in result["scores"]
    ]
    show_table(f"{result['set']} at {result['sparsity']:g}", ("task", "metric", "value", "standard error"), rows)
    realised = [
        [kind.replace("_", " "), "" if value is None else value] for kind, value in result["realised_sparsity"].items()
    ]
    show_table("Realised sparsity, of the projections' weights", ("requests", "skipped"), realised)
    show_table("Prompts by group", ("group", "prompts"), list(result["groups"].items()))


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """The standard error of a metric, where lm-eval has one."""
    metric, _, name_of_filter = name.partition(",")
    error = row.get(f"{metric}_stderr,{name_of_filter}")
    return error if isinstance(error, float) else None
