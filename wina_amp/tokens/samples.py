"""A sample as token ids, the same for capture, calibration and the learned routers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any


@dataclass(frozen=True)
class TokenizedSample:
    """The token ids of one sample.

    Attributes:
        sample_id: its key in the table `samples`.
        prompt_ids: tokens of the prompt, at least one.
        answer_ids: tokens of the right answer behind it; empty where only the prompt is read.
    """

    sample_id: str
    prompt_ids: Sequence[int]
    answer_ids: Sequence[int]

    @property
    def ids(self) -> list[int]:
        """Prompt and answer as one sequence."""
        return [*self.prompt_ids, *self.answer_ids]

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt_ids) + len(self.answer_ids)

    @property
    def as_read(self) -> TokenizedSample:
        """The tokens that the model reads: the last one of the answer is predicted, and no evaluation puts it in."""
        return replace(self, answer_ids=self.answer_ids[:-1])


def read_up_to(samples: Sequence[TokenizedSample], tokens: int) -> list[TokenizedSample]:
    """The samples as the model reads them, in their order, until they have so many tokens."""
    read = [sample.as_read for sample in samples]
    before = accumulate((sample.length for sample in read), initial=0)
    return [sample for sample, start in zip(read, before, strict=False) if start < tokens]


def tokenized_samples(samples: Any) -> list[TokenizedSample]:
    """The rows of a table with the columns `sample_id`, `prompt_ids` and `answer_ids`, in their order."""
    columns = (samples[name] for name in ("sample_id", "prompt_ids", "answer_ids"))
    return [
        TokenizedSample(str(sample_id), prompt_ids.tolist(), answer_ids.tolist())
        for sample_id, prompt_ids, answer_ids in zip(*columns, strict=True)
    ]
