"""preset: put the settings of presets into params.yaml and say which. Not a DVC stage; `make preset` runs it.

    python -m commands.preset full controls
    python -m commands.preset llama-3-8b --revision <commit>
    python -m commands.preset smoke --model <folder>

The file is only written if the result is sound; `git checkout params.yaml` takes all of it back.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from commands import preset_files
from pipeline.config import params
from stages.run import run_command

log = logging.getLogger("commands.preset")


def main(names: Sequence[str], revision: str | None, model: str | None = None) -> None:
    """Apply presets to params.yaml, one after the other; revision and model belong to the first.

    Raises:
        UserError: unknown preset, no revision for a checkpoint of the hub, or settings that do not fit together.
    """
    path = Path(params.PARAMS)
    params.parse(path)
    presets = [preset_files.load(name, *((None, None) if at else (revision, model))) for at, name in enumerate(names)]
    text, changes, _settings = preset_files.apply_all(presets, path.read_text(encoding="utf-8"))
    if not changes:
        log.info("%s: params.yaml has these settings already", " ".join(names))
        return
    path.write_text(text, encoding="utf-8")
    width = max(len(change.name) for change in changes)
    lines = [f"  {change.name:<{width}}  {_short(change.before)} -> {_short(change.after)}" for change in changes]
    log.info("%s changes params.yaml (`git checkout params.yaml` undoes it):\n%s", " ".join(names), "\n".join(lines))


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="preset", description="Put a preset's settings into params.yaml.")
    parser.add_argument("names", nargs="+", metavar="name", help=f"of {', '.join(preset_files.names())}")
    parser.add_argument("--revision", help="commit of the checkpoint on the Hugging Face hub")
    parser.add_argument("--model", help="checkpoint instead of the preset's: a folder, or a hub id with --revision")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    run_command("preset", lambda: main(given.names, given.revision or None, given.model or None))
