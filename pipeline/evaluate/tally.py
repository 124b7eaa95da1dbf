"""Counts of the work done for every sample, collected batch by batch over all requests of an evaluation."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import numpy as np

from pipeline.compute.operations import Work
from wina_amp.masks.install import Counts


class Tally:
    """Counters of so many samples, and masks on the model (0: it runs dense), all zero at first; `work` is what
    `pipeline.compute.operations` takes."""

    def __init__(self, samples: int, masks: int) -> None:
        self.work = Work(
            tokens=np.zeros(samples, np.int64),
            attended=np.zeros(samples, np.int64),
            predicted=np.zeros(samples, np.int64),
            eligible=np.zeros(samples, np.int64),
            kept=np.zeros((samples, masks), np.int64),
        )

    @contextmanager
    def all_or_nothing(self) -> Generator[None]:
        """What is added inside counts once the block ends well."""
        before = deepcopy(self.work)
        try:
            yield
        except BaseException:
            self.work = before
            raise

    def add(
        self,
        samples: Sequence[int],
        *,
        tokens: Sequence[int],
        attended: Sequence[int],
        predicted: Sequence[int],
        counts: Counts | None,
    ) -> None:
        """Add one forward pass.

        Args:
            samples: sample of every row; a sample may occur in several rows.
            tokens: tokens of every row that passed through the blocks, padding excluded.
            attended: positions those tokens attended to, summed.
            predicted: positions of the row that `lm_head` was applied to.
            counts: of the masks, for the same rows; None where the model ran dense.
        """
        rows = np.asarray(samples)
        np.add.at(self.work.tokens, rows, tokens)
        np.add.at(self.work.attended, rows, attended)
        np.add.at(self.work.predicted, rows, predicted)
        if counts is not None:
            np.add.at(self.work.eligible, rows, counts.tokens.cpu().numpy())
            np.add.at(self.work.kept, rows, counts.kept.cpu().numpy())
