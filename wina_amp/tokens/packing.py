"""A prompt and its continuations in one row, so that they share the prompt's computation.

    prompt p1 ... pn | a1 ... | b1 ... | ...

Every continuation stands there without its last token, which is predicted and never read; one of a single token takes
no space, because the prompt's last token predicts it. Each sees the prompt and its own earlier tokens only, at the
positions it would have on its own, so a pass over the row computes what separate sequences would. What predicts is the
prompt's last token and everything behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class PackedRow:
    """One row.

    Attributes:
        prompt: token ids, at least one.
        continuations: token ids of each, at least one token.
    """

    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]

    @property
    def width(self) -> int:
        """Tokens of the row."""
        return len(self.prompt) + sum(len(tokens) - 1 for tokens in self.continuations)

    @property
    def is_plain(self) -> bool:
        """Whether the row is one sequence, for which causal attention and ordinary positions are right."""
        return sum(len(tokens) > 1 for tokens in self.continuations) <= 1

    @cached_property
    def _parts(self) -> list[Sequence[int]]:
        return [self.prompt, *(tokens[:-1] for tokens in self.continuations)]

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        return [token for part in self._parts for token in part]

    @property
    def positions(self) -> list[int]:
        """Position of every token in its own sequence."""
        start = len(self.prompt)
        return [*range(start), *(start + i for part in self._parts[1:] for i in range(len(part)))]

    @property
    def segments(self) -> list[int]:
        """0 for the prompt, k > 0 for the k-th continuation."""
        return [number for number, part in enumerate(self._parts) for _ in part]

    @property
    def predictors(self) -> list[list[int]]:
        """For every continuation the predictor of each of its tokens: 0 is the prompt's last token, 1 the token behind
        it, and so on."""
        lists: list[list[int]] = []
        previous = 0
        for tokens in self.continuations:
            lists.append([0, *range(previous + 1, previous + len(tokens))])
            previous += len(tokens) - 1
        return lists


def visible(segments: Int[Tensor, "batch width"]) -> Bool[Tensor, "batch one width width"]:
    """What each token of packed rows sees: the prompt, and earlier tokens of its own segment. Padding has a segment of
    its own, because even padding must see something."""
    seen, own = segments[:, None, :], segments[:, :, None]
    return (((seen == own) | (seen == 0)).tril())[:, None]
