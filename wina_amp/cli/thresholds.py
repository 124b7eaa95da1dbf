"""`wina-amp export-thresholds`: the thresholds of a profile set in files that any program reads.

One row for every target, group, block and projection. A threshold is written with the nine digits that tell any two
float32 apart, and an infinite one, which masks everything, as the text `inf`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

from wina_amp.atomic import replacing
from wina_amp.errors import UserError
from wina_amp.profile_set.profile_set import ProfileSet

_COLUMNS: tuple[str, ...] = ("target", "group", "group_name", "block", "projection", "threshold")


def export(path_or_repo: str, file: Path) -> None:
    """Write the thresholds of a profile set as `.json` or `.csv`.

    Raises:
        UserError: another suffix; a profile set that cannot be read; a file that cannot be written.
    """
    if file.suffix not in (".json", ".csv"):
        remedy = "name a file such as thresholds.csv"
        raise UserError("The file must end in .json or .csv", found=repr(file.name), where=str(file), remedy=remedy)
    profile_set = ProfileSet.from_pretrained(path_or_repo)
    text = (_json if file.suffix == ".json" else _csv)(profile_set)
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def rows(profile_set: ProfileSet) -> Iterator[dict[str, object]]:
    """The rows, in the order of targets, groups, blocks and projections. `group` is the number: names may repeat."""
    description = profile_set.description
    for target, of_target in zip(description.targets, profile_set.thresholds.tolist(), strict=True):
        for number, of_group in enumerate(of_target):
            for block, of_block in enumerate(of_group):
                for projection, threshold in zip(description.model.projections, of_block, strict=True):
                    name = description.groups[number].name
                    values = (target, number, name, block, projection, written(threshold))
                    yield dict(zip(_COLUMNS, values, strict=True))


def written(threshold: float) -> float | str:
    """A threshold as it is written; JSON has no infinite numbers."""
    return float(f"{threshold:.9g}") if math.isfinite(threshold) else str(threshold)


def _json(profile_set: ProfileSet) -> str:
    description = profile_set.description
    head = {"profile_set": description.name, "criterion": description.criterion, "model": description.model.digest}
    table = list(rows(profile_set))
    return json.dumps(head | {"thresholds": table}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(profile_set: ProfileSet) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(profile_set))
    return text.getvalue()
