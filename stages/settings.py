"""settings: params.yaml -> data/settings.json, which says only that they are sound.

Every stage checks all settings when it starts, but that is too late for names: DVC removes the outs of a stage before
it runs the command, and an out at `data/profile_sets/../../docs` is the folder `docs`. Every other stage is behind this
one, so names are refused while everything is still there. What it writes never changes, so nobody runs again because
of it. (`dvc repro --single-item` goes around it.)

Settings that draw the confirmation split must be those of the study's protocol.
"""

from __future__ import annotations

from pipeline.config import protocol
from pipeline.config.params import Settings
from stages.inputs import paths
from wina_amp.atomic import replacing


def main(settings: Settings) -> None:
    """Write that the settings are sound: `run_stage` has refused all others."""
    if protocol.is_confirmation(settings):
        protocol.check(protocol.load(protocol.file_of(settings.study)), settings)
    with replacing(paths.SETTINGS) as file:
        file.write_text('{"settings": "sound"}\n', encoding="utf-8")
