"""check_model: is every byte of the checkpoint still the one of its manifest? `make check-model` runs it.

`make repro` trusts a hash for a week while size and times of a file stay what they were, and so does not notice a bit
that the disk flips. This reads every file, which takes most of a minute for 15 GB, and changes nothing.
"""

from __future__ import annotations

import logging

from pipeline.config.params import Settings
from stages.inputs import paths
from stages.run import run
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.checksums import sha256
from wina_amp.models.integrity import check_folder
from wina_amp.models.source import checkpoint_files, model_folder

log = logging.getLogger("commands.check_model")


def main(settings: Settings) -> None:
    """Raise a `UserError` for a checkpoint that cannot be loaded, or is not the one of the manifest."""
    model = settings.model
    folder = model_folder(model.path, model.revision, remote_code=model.remote_code)
    check_folder(folder, remote_code=model.remote_code)
    files = checkpoint_files(folder, remote_code=model.remote_code)
    changed = manifest.differences(manifest.read(paths.MANIFEST), files, sha256)
    if changed:
        raise UserError(
            f"The checkpoint must be the one that {paths.MANIFEST} describes",
            found="; ".join(changed),
            where=str(folder),
            remedy=f"restore the files that are named; if the change is meant, {manifest.REMEDY}",
        )
    log.info("%d files of %s are those of %s", len(files), folder, paths.MANIFEST)


if __name__ == "__main__":
    run("check_model", main)
