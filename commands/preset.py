"""preset: put a preset's settings into params.yaml and say which. Not a DVC stage; `make preset` runs it.

    python -m commands.preset llama-3-8b --revision <commit>

The file is only written if the result is sound; `git checkout params.yaml` takes all of it back.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from commands import preset_files
from pipeline.config import params
from stages.run import run_command

log = logging.getLogger("commands.preset")


def main(name: str, revision: str | None) -> None:
    """Apply preset `name` to params.yaml.

    Raises:
        UserError: unknown preset, no revision for a checkpoint of the hub, or settings that do not fit together.
    """
    path = Path(params.PARAMS)
    params.parse(path)
    text, changes = preset_files.apply(preset_files.load(name, revision), path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / params.PARAMS
        candidate.write_text(text, encoding="utf-8")
        params.load(candidate)
    if not changes:
        log.info("%s: params.yaml has these settings already", name)
        return
    path.write_text(text, encoding="utf-8")
    width = max(len(change.name) for change in changes)
    lines = [f"  {change.name:<{width}}  {_short(change.before)} -> {_short(change.after)}" for change in changes]
    log.info("%s changes params.yaml (`git checkout params.yaml` undoes it):\n%s", name, "\n".join(lines))


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="preset", description="Put a preset's settings into params.yaml.")
    parser.add_argument("name", help=f"one of {', '.join(preset_files.names())}")
    parser.add_argument("--revision", help="commit of the checkpoint on the Hugging Face hub")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    run_command("preset", lambda: main(given.name, given.revision or None))
