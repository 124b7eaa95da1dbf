"""The stages that a `dvc repro` would run.

`dvc repro --dry` does not say: it takes the outs of stages that it has not run for unchanged. Here a stage would run if
DVC finds it changed, or if it depends on one that would run. That is the most that can happen: a stage that comes out
with the same bytes as before spares those behind it, and results of an earlier run are restored from the cache.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from wina_amp.errors import UserError

MAIN = "dvc.yaml"
SETTINGS = "settings"
"""The stage that refuses wrong settings. It takes a second, runs whenever a setting has changed, and always writes the
same, so it is left out: nobody runs because of it."""


def pending(root: Path, also: Collection[str] = ()) -> tuple[list[str], int]:
    """Names of the stages of dvc.yaml that would run, in an order in which they can, and the number of all its stages;
    `settings` is not among them.

    Args:
        root: the repository; nothing in it is changed.
        also: stages that will run whatever DVC finds.

    Raises:
        UserError: DVC is at work in the repository, so that what is left to do changes while one looks.
    """
    import networkx as nx
    from dvc.lock import LockError
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        stages: Any = repo.index.stages
        every = [stage for stage in stages if stage.path_in_repo == MAIN and stage.name != SETTINGS]
        try:
            status: Any = repo.status()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        except LockError as error:
            raise UserError(
                "DVC must not be at work in the repository while a run is estimated",
                found=" ".join(str(error).split()),
                where=str(root),
                remedy="wait until it is done, or end it",
            ) from error
        needs: Any = repo.index.graph.subgraph(every)  # from a stage to those that it depends on
        changed = [stage for stage in every if stage.addressing in status or stage.name in also]
        would_run = {*changed, *(behind for stage in changed for behind in nx.ancestors(needs, stage))}
        return [stage.name for stage in nx.dfs_postorder_nodes(needs) if stage in would_run], len(every)
