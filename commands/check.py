"""check: are the settings sound and the inputs there? Not a DVC stage; `make repro` runs it first, in about a second.

    python -m commands.check [--experiments]     the latter also asks whether DVC can commit experiments

Every stage checks the settings itself, but DVC fills them into paths before any stage starts: a profile set that does
not exist would be DVC's "missing file" instead of a sentence about params.yaml. The same goes for folders that DVC
reads.

DVC watches one checkpoint, the reference model, and by date and size only. Every checkpoint is compared with its
manifest here, by hashes that are remembered for a week (`wina_amp/models/checksums.py`), and where it is another one,
the stage `manifest` is run by force: deleting its outs would not do, because an experiment restores them from
dvc.lock. What then reruns is DVC's business: whatever depends on a manifest that came out differently.

Tables of removed methods, profile sets and routers are moved out of the folders that stages read, and forgotten.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

from commands.check_repository import check_repository
from pipeline.config import params
from pipeline.config.inputs import ModelSettings
from pipeline.config.params import Settings
from pipeline.tasks.folder import check_entries
from stages import report
from stages.inputs import paths
from stages.inputs.checkpoint import checksums
from stages.inputs.leftovers import forget, set_aside
from stages.run import run_command
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.source import CONFIG, cached_folder, checkpoint_files, model_folder
from wina_amp.names import SCORES

log = logging.getLogger("commands.check")


def main(settings: Settings) -> None:
    """Raise a `UserError` for the first input that is missing; `run` has already checked the settings.

    Writes the manifest of a changed checkpoint anew; exits like the stage if that fails.
    """
    _check_model(settings.model)
    set_aside(settings)
    forget(settings)
    _need_folder(
        Path(paths.REFERENCE_MODEL), "The embedded reference model", "`git checkout data/reference` restores it"
    )
    remedy = "correct `benchmark.include` in params.yaml; `git checkout data/benchmark` restores the embedded tasks"
    _need_folder(Path(settings.benchmark.include), "The folder of task files", remedy)
    check_entries(Path(settings.benchmark.include))
    _check_sizes(settings)
    report.check_settings(settings)
    changed = changes(settings.model)
    if changed:
        log.info("the checkpoint is not the one of %s: %s", paths.MANIFEST, "; ".join(changed[:3]))
        _run_manifest()


def changes(model: ModelSettings) -> list[str]:
    """How the checkpoint differs from its manifest, where DVC would not notice.

    Empty where there is no manifest yet, or the checkpoint is still to be downloaded: then the stage runs anyway.
    """
    folder = cached_folder(model.path, model.revision, remote_code=model.remote_code)
    if folder is None or not Path(paths.MANIFEST).is_file():
        return []
    files = checkpoint_files(folder, remote_code=model.remote_code)
    return manifest.differences(manifest.read(paths.MANIFEST), files, checksums())


def _check_model(model: ModelSettings) -> None:
    if Path(model.path).exists():
        model_folder(model.path, model.revision)  # a file is no folder
        return
    names = model.path.split("/")
    if len(names) != 2 or not all(names) or model.path.startswith((".", "/", "data/")):
        remedy = "correct the path in params.yaml; `git checkout data/reference` restores the reference model"
        raise UserError(
            "`model.path` must be a folder or a hub id (`owner/name`)", "no such folder", model.path, remedy
        )
    if model.revision is None:
        remedy = "set `model.revision` to a commit of the checkpoint, or `model.path` to a folder"
        raise UserError("A hub checkpoint needs a pinned `model.revision`", "null", "`model.revision`", remedy)


def _check_sizes(settings: Settings) -> None:
    """What the stages `route` and `latency` would refuse, after hours: more blocks or tokens than the model has."""
    model, route, contexts = settings.model, settings.route, settings.latency.contexts
    folder = cached_folder(model.path, model.revision, remote_code=model.remote_code)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8")) if folder is not None else {}
        blocks, tokens = config.get("num_hidden_layers"), config.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return  # the stage `manifest` says what is wrong
    if isinstance(tokens, int) and max(contexts) > tokens:
        from stages.latency_inputs import check_contexts, what_is_timed

        if what_is_timed(settings).reason is None:
            check_contexts(settings)
    is_read = any(router.reads == SCORES for router in route.routers.values())
    if isinstance(blocks, int) and is_read and route.blocks > blocks:
        must, where = "`route.blocks` must not exceed the model's number of blocks", "`route.blocks` in params.yaml"
        raise UserError(must, f"{route.blocks} of {blocks}", where, "lower it")


def _run_manifest() -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "manifest"], check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def _need_folder(folder: Path, what: str, remedy: str) -> None:
    if not folder.is_dir():
        raise UserError(f"{what} must exist", "no such folder", str(folder), remedy)


def _everything(*, has_experiments: bool) -> None:
    check_repository(Path.cwd(), has_experiments=has_experiments)
    main(params.load())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="check")
    parser.add_argument("--experiments", action="store_true", help="also whether DVC can commit experiments")
    given = parser.parse_args()
    run_command("check", lambda: _everything(has_experiments=given.experiments))
