"""`UserError`, the exception for mistakes that the user can correct.

Its text states what must hold, what was found, where, and the remedy. Commands print it without a traceback and exit
with code 2 (`stages.run`); any other exception is a bug of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

RESTORE = "delete it, run `chmod -R u+w .dvc/cache`, so that DVC checks its copies, and then `dvc repro`"
"""The remedy for a damaged file that DVC keeps. DVC takes a read-only copy in its cache for whole, and the file is
often a link to that copy: `dvc repro` or `dvc checkout` alone would put the damaged one back
(tests/dvc/test_damage.py)."""
MOST_SHOWN = 1000
"""Characters of what was found that the message shows."""


class UserError(Exception):
    """A mistake that the user can correct.

        try:
            profiles.check(model)
        except UserError as error:
            print(error.must, error.found, error.where, error.remedy)

    Args:
        must: the rule that is broken, as a sentence ("`cluster.count` must be a whole number of at least 2").
        found: the value that breaks it.
        where: its file, table, parameter or module.
        remedy: an imperative sentence.
    """

    def __init__(self, must: str, found: object, where: object, remedy: str) -> None:
        self.must, self.found, self.where, self.remedy = must, found, str(where), remedy
        text = " ".join(str(found).splitlines())
        shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"
        message = f"{must.rstrip('.')}. Found: {shown}. Where: {where}. What to do: {remedy.rstrip('.')}."
        # Halves of characters (bytes that are no UTF-8, in a file or its name) cannot be printed.
        super().__init__(message.encode(errors="backslashreplace").decode())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickling, by which a worker process passes its error on."""
        return UserError, (self.must, str(self.found), self.where, self.remedy)


def unknown(kind: str, name: object, known: Iterable[str], where: str) -> UserError:
    """The error for a name that is not in a closed list; suggests the nearest known one."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    must = f"The {kind} must be one of {', '.join(names) or '(there are none)'}"
    return UserError(must, found=repr(name), where=where, remedy=f"{hint}choose a known one")
