"""Values in a file, each found by the place where it begins: however many there are, memory holds those in use."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Records:
    """Values that a stage keeps for its workers, in one file that belongs to one run.

    Can be pickled: worker processes read the same file. Workers on other machines ask the driver (`on_driver`,
    `pipeline/executors/ray_worker.py`).
    """

    path: Path

    on_driver: ClassVar = ("read",)

    @contextmanager
    def writing(self) -> Generator[Callable[[Any], int]]:
        """`with records.writing() as add:` a new file; `place = add(value)` for every value, which can be pickled."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:

            def add(value: Any) -> int:
                place = file.tell()
                pickle.dump(value, file)
                return place

            yield add

    def read(self, places: Sequence[int]) -> list[Any]:
        """The values at these places, in their order."""
        with self.path.open("rb") as file:
            return [_at(place, file) for place in places]


def _at(place: int, file: Any) -> Any:
    file.seek(place)
    return pickle.load(file)
