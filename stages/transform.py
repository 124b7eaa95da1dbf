"""transform: the bases that the inputs of attention and MLP are rotated into -> rotations, one file per block.

Decompositions take minutes for a large model and every later stage loads it, so they are made once. Finished blocks
survive a crash. With `model.transform: none` there is nothing to compute and no model is loaded: the folder then holds
just the note that says so.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from pipeline.config.params import Settings
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import ROTATION_FACTS, load_unweighted, rotation_facts
from wina_amp.atomic import replacing
from wina_amp.names import NO_TRANSFORM

log = logging.getLogger("stages.transform")


def main(settings: Settings) -> None:
    """Write `rotations`."""
    if settings.model.transform == NO_TRANSFORM:
        with replacing(paths.ROTATIONS) as folder:
            folder.mkdir()
            _write_facts(settings, folder / ROTATION_FACTS)
    else:
        _write_bases(settings)


def _write_bases(settings: Settings) -> None:
    from wina_amp.models.rotation_files import file_name, save_bases
    from wina_amp.models.transform import block_bases

    plain = replace(settings.model, transform=NO_TRANSFORM)
    loaded = load_unweighted(plain)
    with Fingerprint(settings, "transform").scratch() as scratch:
        names = [file_name(block) for block in range(len(loaded.layers))]
        missing = [block for block, name in enumerate(names) if not scratch.has(name)]
        if len(missing) < len(names):
            log.info("resuming: %d of %d blocks are finished", len(names) - len(missing), len(names))
        for block in tqdm(missing, desc="transform", unit="block"):
            with scratch.writing(names[block]) as path:
                save_bases(block_bases(loaded, block), path)
        with scratch.writing(ROTATION_FACTS) as path:
            _write_facts(settings, path)
        scratch.publish(paths.ROTATIONS, [*names, ROTATION_FACTS])
        scratch.clear()


def _write_facts(settings: Settings, path: Path) -> None:
    path.write_text(json.dumps(rotation_facts(settings.model), indent=1) + "\n", encoding="utf-8")
