"""manifest: the files of the model under study -> data/model.json, and without the weights data/tokenizer.json.

Stages that run the model depend on the first, stages that only read texts on the second. Neither names a path: the same
checkpoint in another folder is the same model. `commands/check.py` makes this stage run when a folder that
DVC does not watch has changed.
"""

from __future__ import annotations

import logging

from pipeline.config.params import Settings
from stages.inputs import paths
from stages.inputs.checkpoint import checksums
from wina_amp.models import manifest
from wina_amp.models.integrity import check_folder
from wina_amp.models.source import checkpoint_files, model_folder

log = logging.getLogger("stages.manifest")


def main(settings: Settings) -> None:
    """Write the manifest of `model.path` at `model.revision`, whole and without the weights.

    Raises:
        UserError: no checkpoint that could be loaded (`check_folder`), or a damaged download.
    """
    remote_code = settings.model.remote_code
    folder = model_folder(settings.model.path, settings.model.revision, remote_code=remote_code)
    check_folder(folder, remote_code=remote_code)
    described = manifest.describe(checkpoint_files(folder, remote_code=remote_code), checksums())
    manifest.write(described, paths.MANIFEST)
    manifest.write(described.without_weights(), paths.TOKENIZER)
    size = sum(file.size for file in described.files.values())
    log.info("%d files, %.2f GB, %s", len(described.files), size / 1e9, described.digest[:12])
