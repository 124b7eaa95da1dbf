"""`wina-amp import-teal`: what TEAL publishes for a model as a profile set, to run, measure and compare it here.

One group, the criterion `teal`, and half of a prompt dense, as in TEAL's released code. Thresholds come from
`wina_amp/cli/teal_files.py`; the model is loaded for the sketch of its weights, by which others are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wina_amp.atomic import refuse_full
from wina_amp.calibration.arguments import checked_targets
from wina_amp.calibration.described import described
from wina_amp.cli.teal_files import teal_thresholds
from wina_amp.errors import unknown
from wina_amp.models.load import load
from wina_amp.models.projections import projections
from wina_amp.models.skeleton import skeleton
from wina_amp.names import AUTO, GREEDY, TEAL, UNIFORM
from wina_amp.profile_set.description import Group
from wina_amp.profile_set.identity import sketch
from wina_amp.profile_set.profile_set import ProfileSet

ALLOCATIONS = (UNIFORM, GREEDY)
_DENSE_PREFIX = 0.5


def import_teal(
    folder: Path, model: str, out: Path, *, allocation: str, sparsity: Sequence[float], dtype: str, revision: str
) -> dict[str, Any]:
    """Write the profile set, and say what it is.

    Args:
        folder: one of TEAL's `models`.
        model: folder of the checkpoint, or `owner/name` on the hub.
        out: new or empty.
        allocation: `uniform`, or `greedy` by TEAL's tables.
        sparsity: the targets.
        dtype: of the weights.
        revision: of a model of the hub.

    Raises:
        UserError: a folder with something in it; an unknown allocation; a target that is no fraction; files that are
            not of this model (`teal_thresholds`); see `load`.
    """
    refuse_full(out)
    if allocation not in ALLOCATIONS:
        raise unknown("allocation of TEAL", allocation, ALLOCATIONS, "--allocation")
    targets = checked_targets(sparsity)
    thresholds = teal_thresholds(folder, projections(skeleton(model, revision)), targets, allocation)
    loaded = load(model, revision=revision, dtype=dtype, device=AUTO).model
    description = described(
        loaded,
        name=out.resolve().name,
        criterion=TEAL,
        allocation=allocation,
        dense_prefix=_DENSE_PREFIX,
        targets=targets,
        groups=[Group("all samples", None)],
        router=None,
        data=f"TEAL's files {folder.resolve().name}",
    )
    ProfileSet(description, torch.from_numpy(thresholds)[:, None], sketch(loaded), None).save_pretrained(out)
    return {"folder": str(out), "allocation": allocation, "targets": list(targets), "blocks": description.model.blocks}
