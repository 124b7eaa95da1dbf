"""Forward passes of a model that runs dense or with a set of profiles: no other module of evaluation calls the model.

The decoder runs without `lm_head`, which is applied to just those positions whose prediction is needed. NaN and
infinity are refused here; capture, which sees the dense model first, also says which projection receives them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pipeline.profiles.profile import Profiles
from wina_amp.errors import UserError
from wina_amp.masks.install import Counts, Runtime, install
from wina_amp.tokens.halving import in_halves

if TYPE_CHECKING:
    from transformers import Cache

    from wina_amp.models.load import LoadedModel

_ROWS_OF_LOGITS = 512
"""Positions whose logits exist at a time: with a vocabulary of 128,000 in float32, a quarter of a gigabyte. Fewer would
cost more: at a vocabulary of 262,144 and a hidden size of 640, `lm_head` takes 5.2 ms of a core for each of 256
positions, 7.3 ms of 64, 10.4 ms of 16."""

_EXPONENTS = 1 << 22
"""Numbers that `logsumexp` keeps in between. What is larger than 32 MB the allocator returns to the system, and
fetching it again is half of the time (0.97 ms a position at that vocabulary, 0.45 in parts); results are the same."""


@dataclass(frozen=True)
class Prediction:
    """The model's probabilities of given next tokens, in float32 on the CPU.

    Attributes:
        logprobs: log-probability of every token.
        is_best: whether the token is the most probable one at its position.
    """

    logprobs: Float[np.ndarray, " tokens"]
    is_best: Bool[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Engine:
    """A model that runs dense or masked; see `running`.

    Attributes:
        loaded: the model.
        runtime: masks installed on it; None runs it dense.
        dense_prefix: see `eligibility.eligible`.
    """

    loaded: LoadedModel
    runtime: Runtime | None
    dense_prefix: int | float

    def tensor(self, values: Any) -> Tensor:
        """int64 numbers on the model's device."""
        return torch.as_tensor(np.asarray(values, np.int64), device=self.loaded.device)

    def forward(
        self,
        ids: Int[Tensor, "batch width"],
        groups: Sequence[int],
        eligible: Bool[Tensor, "batch width"],
        *,
        positions: Int[Tensor, "batch width"] | None = None,
        visible: Bool[Tensor, "batch one width seen"] | None = None,
        cache: Cache | None = None,
        prompts: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch width hidden"], Counts | None]:
        """Final hidden states of a batch, and what the masks kept (None where the model runs dense).

        Args:
            ids: token ids; rows may be padded with any id as long as nothing looks at the padding.
            groups: group of every row; ignored where the model runs dense.
            eligible: tokens that may be masked.
            positions: position of every token; None counts from 0 (or from the end of the cache).
            visible: which earlier tokens each token attends to; None is plain causal attention.
            cache: keys and values of earlier tokens, extended in place.
            prompts: tokens of every row's prompt, which begin it; None where prompts were read in an earlier pass.

        Raises:
            UserError: a hidden state is NaN or infinite; memory is not enough for a single row.
        """
        tensors = (ids, eligible, positions, visible, prompts)
        if cache is not None:  # it is extended in place: whoever has it runs everything again by halves
            return self._forward(cache, groups, *tensors)

        def run(rows: Sequence[int]) -> tuple[Tensor, Counts | None]:
            of = slice(rows[0], rows[-1] + 1)
            part: Any = (None if tensor is None else tensor[of] for tensor in tensors)
            return self._forward(None, groups[of], *part)

        parts = list(in_halves(run, range(len(ids))))
        if len(parts) == 1:
            return parts[0]
        hidden = torch.cat([hidden for hidden, _ in parts])
        counts = [part for _, part in parts if part is not None]
        if not counts:
            return hidden, None
        return hidden, Counts(torch.cat([part.tokens for part in counts]), torch.cat([part.kept for part in counts]))

    def _forward(
        self,
        cache: Cache | None,
        groups: Sequence[int],
        ids: Tensor,
        eligible: Tensor,
        positions: Tensor | None,
        visible: Tensor | None,
        prompts: Tensor | None,
    ) -> tuple[Tensor, Counts | None]:
        arguments = {
            "input_ids": ids,
            "position_ids": positions,
            "attention_mask": visible,
            "past_key_values": cache,
            "use_cache": cache is not None,
        }
        rows = nullcontext() if self.runtime is None else self.runtime.rows(self.tensor(groups), eligible, prompts)
        with rows as counts:
            # A model that is spread ends on another device than it begins on.
            hidden = cast(Tensor, self.loaded.decoder(**arguments).last_hidden_state).to(self.loaded.device)
        self._check_finite(bool(hidden.isfinite().all()), "hidden states", len(ids))
        return hidden, counts

    def predict(
        self, hidden: Float[Tensor, "positions hidden"], positions: Sequence[int], tokens: Sequence[int]
    ) -> Prediction:
        """Log-probabilities of next tokens.

        Args:
            hidden: final hidden states of the positions that predict.
            positions: for every token, the row of `hidden` that predicts it.
            tokens: the next tokens.

        Raises:
            UserError: a log-probability is NaN or infinite.
        """
        head = self._head()
        position, token = np.asarray(positions, np.int64), np.asarray(tokens, np.int64)
        logprobs, is_best = np.zeros(len(token), np.float32), np.zeros(len(token), np.bool_)
        for start in range(0, len(hidden), _ROWS_OF_LOGITS):
            here = np.flatnonzero((position >= start) & (position < start + _ROWS_OF_LOGITS))
            logits = head(hidden[start : start + _ROWS_OF_LOGITS]).float()
            rows, columns = (self.tensor(v).to(logits.device) for v in (position[here] - start, token[here]))
            logprobs[here] = (logits[rows, columns] - _normaliser(logits)[rows]).cpu().numpy()
            is_best[here] = (logits.argmax(dim=-1)[rows] == columns).cpu().numpy()
        self._check_finite(bool(np.isfinite(logprobs).all()), "log-probabilities", len(hidden))
        return Prediction(logprobs, is_best)

    def best_tokens(self, hidden: Float[Tensor, "positions hidden"]) -> list[int]:
        """The most probable next token at every position.

        Raises:
            UserError: its logit is NaN, which counts as the largest, or infinite.
        """
        head = self._head()
        chunks: list[Tensor] = []
        for part in hidden.split(_ROWS_OF_LOGITS):
            logits = head(part)
            chunks.append(logits.argmax(dim=-1))
            best = logits.gather(-1, chunks[-1][:, None])
            self._check_finite(bool(best.isfinite().all()), "logits", len(hidden))
        return cast(list[int], torch.cat(chunks).tolist())

    def _check_finite(self, is_finite: bool, what: str, rows: int) -> None:
        if not is_finite:
            raise UserError(
                f"The model's {what} must be finite",
                found="NaN or infinity",
                where=f"a batch of {rows} rows, {'dense' if self.runtime is None else 'sparse'}",
                remedy="set `model.dtype` to bfloat16 or float32, or check the weights",
            )

    def _head(self) -> nn.Module:
        return cast(nn.Module, self.loaded.model.get_output_embeddings())


def _normaliser(logits: Float[Tensor, "positions vocabulary"]) -> Float[Tensor, " positions"]:
    """log(sum(exp(logits))), a few positions at a time."""
    at_once = max(1, _EXPONENTS // logits.shape[1])
    return torch.cat([part.logsumexp(dim=-1) for part in logits.split(at_once)])


@contextmanager
def running(loaded: LoadedModel, profiles: Profiles | None, dense_prefix: int | float) -> Generator[Engine]:
    """An engine whose masks are installed while the context is open; None runs the model dense."""
    if profiles is None:
        yield Engine(loaded, None, dense_prefix)
        return
    with install(loaded, profiles.criterion, torch.from_numpy(profiles.values), profiles.mask) as runtime:
        yield Engine(loaded, runtime, dense_prefix)
