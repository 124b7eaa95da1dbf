"""How far a masked model's predictions are from the dense model's: the loss of `kl` allocation.

    loss = mean over places of KL(dense || masked)          in nats       (`pipeline/allocation/loss/answers.py`)

Calibration texts are train samples. Masks are those that will run: thresholds from the group's own score histograms,
compared exactly as `wina_amp.masks.reference` compares them.

Curves ask for many allocations that mask a single projection. The dense input of every block is therefore kept, and an
allocation runs only from the first block that it masks: half of the blocks on average. Memory: blocks x tokens x hidden
of the calibration texts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from pipeline.allocation.loss.answers import AnswerBatch, answer_batch, divergences
from pipeline.allocation.loss.limits import Limits
from pipeline.allocation.loss.loss_inputs import LossInputs
from pipeline.tokens.batching import batches
from wina_amp.masks.reference import mask
from wina_amp.models.projections import projections


@dataclass(frozen=True)
class _Batch:
    """One batch of calibration text.

    Attributes:
        numbers: which texts.
        answer: their tokens and places.
        arguments: of every block: keyword arguments of its forward call.
        dense: final hidden states of the dense model at the places.
        inputs: what every block of the dense model reads.
    """

    numbers: list[int]
    answer: AnswerBatch
    arguments: list[dict[str, Any]]
    dense: Float[Tensor, "places hidden"]
    inputs: list[Float[Tensor, "batch width hidden"]]


class Divergence:
    """The loss of an allocation. Hooks are on the model while it is computed, and none afterwards.

    Args:
        inputs: the model, the texts, and whose thresholds mask them.
    """

    def __init__(self, inputs: LossInputs) -> None:
        loaded, texts = inputs.loaded, inputs.texts
        self._loaded = loaded
        self._layers = list(attrgetter(loaded.family.layers)(loaded.model))
        self._projections = projections(loaded.model)
        self._limits = Limits(self._projections, inputs.counts, bins=inputs.bins, criterion=inputs.criterion)
        self._running: tuple[Float[ndarray, " projections"], Tensor] | None = None
        self._texts = texts
        self._prefix, self._budget = inputs.dense_prefix, inputs.budget
        self._meter = inputs.meter

    @property
    def costs(self) -> list[int]:
        """Weights of every projection, in the order of `projections`."""
        return [projection.gated_weights for projection in self._projections]

    @property
    def places(self) -> list[tuple[int, str]]:
        """Block and name of every projection."""
        return [(projection.block, projection.name) for projection in self._projections]

    def loss(self, sparsity: Float[ndarray, " projections"]) -> float:
        """KL of an allocation, in nats per place."""
        places = sum(len(batch.answer.owners) for batch in self._batches)
        return float(self.losses(sparsity).sum()) / places

    def losses(self, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, " texts"]:
        """KL of every text, in nats, summed over its places."""
        self._meter.evaluated(1)
        found = torch.zeros(len(self._texts), dtype=torch.float64, device=self._loaded.device)
        first = self._first_masked(sparsity)
        with torch.inference_mode(), ExitStack() as hooks:
            for number, projection in enumerate(self._projections):
                hooks.callback(projection.module.register_forward_pre_hook(self._mask_hook(number)).remove)
            for batch in self._batches:
                hidden = self._run(batch, sparsity, first)
                one = divergences(self._head, batch.dense, hidden[batch.answer.places])
                numbers = torch.tensor(batch.numbers, device=found.device)
                found.index_add_(0, numbers[batch.answer.owners], one.double())
        return found.cpu().numpy()

    @property
    def _head(self) -> Callable[[Tensor], Tensor]:
        return cast(Callable[[Tensor], Tensor], self._loaded.model.get_output_embeddings())

    @cached_property
    def _batches(self) -> list[_Batch]:
        """All texts; made when a loss is asked for, because a search that finds all losses kept asks for none."""
        lengths, ids = [text.length - 1 for text in self._texts], [text.sample_id for text in self._texts]
        with self._meter.uncounted():
            return [self._dense(numbers) for numbers in batches(lengths, ids, self._budget)]

    def _dense(self, numbers: list[int]) -> _Batch:
        """Run the dense model, and keep what its blocks are called with."""
        answer = answer_batch([self._texts[number] for number in numbers], self._prefix, self._loaded.device)
        inputs: list[Tensor] = []
        arguments: list[dict[str, Any]] = []

        def watch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs.append(args[0] if args else kwargs["hidden_states"])
            arguments.append({name: value for name, value in kwargs.items() if name != "hidden_states"})

        with ExitStack() as hooks, torch.inference_mode():
            for layer in self._layers:
                hooks.callback(layer.register_forward_pre_hook(watch, with_kwargs=True).remove)
            hidden = self._loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state
        return _Batch(numbers, answer, arguments, hidden[answer.places], inputs)

    def _run(
        self, batch: _Batch, sparsity: Float[ndarray, " projections"], first: int
    ) -> Float[Tensor, "batch width hidden"]:
        """Final hidden states, from block `first` on."""
        hidden = batch.inputs[first]
        self._running = (sparsity, batch.answer.eligible)
        for layer, arguments in zip(self._layers[first:], batch.arguments[first:], strict=True):
            output = layer(hidden, **arguments)
            hidden = cast(Tensor, output[0] if isinstance(output, tuple) else output)
        self._running = None
        return attrgetter(self._loaded.family.final_norm)(self._loaded.model)(hidden)

    def _first_masked(self, sparsity: Float[ndarray, " projections"]) -> int:
        """The first block that is masked; the last one if none is."""
        masked = np.flatnonzero(sparsity)
        return self._projections[masked[0]].block if len(masked) else len(self._layers) - 1

    def _mask_hook(self, number: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if self._running is None or self._running[0][number] == 0:
                return None
            sparsity, counted = self._running
            x: Tensor = args[0]
            rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            limits = self._limits.cutoffs(number, float(sparsity[number]))
            return (mask(x, limits, rows, counted.to(x.device), torch.zeros_like(rows)), *args[1:])

        return pre_hook
