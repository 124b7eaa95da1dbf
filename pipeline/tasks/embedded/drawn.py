"""A cache on disk of the documents that were drawn.

Nine of ten questions belong to another split and are thrown away, so drawing the embedded tasks takes four seconds, and
every process of every evaluation asks for the same ones. Within a DVC stage they are therefore kept among the scratch
folders, under a name made from everything they depend on: the arguments, all code of this package, and the version of
Python, whose `random` draws. Outside DVC nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.storage.parts import JsonParts, Parts
from pipeline.storage.scratch import file_digest, scratch_root

Fields = list[dict[str, object]]

FOLDER = "documents"


def drawn(draw: Callable[[], Fields], **arguments: object) -> Fields:
    """The documents that `draw` makes, from disk if they are there. `arguments` are all that they depend on besides
    code; must be JSON-serialisable.
    """
    if not os.environ.get("DVC_ROOT"):
        return draw()
    facts = {"arguments": arguments, "code": file_digest(Path(__file__).parent), "python": sys.version_info[:3]}
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    kept = JsonParts(Parts(scratch_root() / FOLDER), "")
    fields: Fields | None = kept.get(name)
    if fields is None:
        fields = draw()
        kept.put(name, fields)
    return fields
