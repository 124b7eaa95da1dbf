"""Whether settings name anything of the Hugging Face hub. Where they do not, the hub need not be asked.

Asked before everything else of a stage, because the libraries of the hub read HF_HUB_OFFLINE and HF_DATASETS_OFFLINE
when they are imported (`stages/__main__.py`, `commands/__init__.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from pipeline.config.params import PARAMS, parse
from wina_amp.errors import UserError


def is_local(file: str | Path = PARAMS) -> bool:
    """Whether the checkpoint is a folder and every task has a file of its name in `benchmark.include`.

    False where the settings cannot be read; who needs them says why.
    """
    try:
        settings = cast(Any, parse(Path(file)))
        benchmark = settings["benchmark"]
        tasks = {*benchmark["tasks"], *(benchmark["calibration"] or ())}
        files = {path.stem for path in Path(benchmark["include"]).rglob("*")}
        return Path(settings["model"]["path"]).is_dir() and tasks <= files
    except (UserError, TypeError, LookupError, OSError, ValueError):
        return False


def ask_for_nothing_if_local() -> None:
    """Ask the hub for nothing where the settings name nothing of it, unless the environment says otherwise.

    Call it before anything imports the hub's client, which reads the environment once.
    """
    if is_local():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
