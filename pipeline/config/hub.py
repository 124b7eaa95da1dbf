"""Whether settings name anything of the Hugging Face hub. Where they do not, the hub need not be asked.

Asked before everything else of a stage, because the libraries of the hub read HF_HUB_OFFLINE and HF_DATASETS_OFFLINE
when they are imported (`stages/__init__.py`).
"""

from __future__ import annotations

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
