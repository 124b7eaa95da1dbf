"""Decode steps of one `generate()` as a CUDA graph: no Python and no launches one by one, from the fourth step on.

On a static cache every decode step of transformers' loop gives the model tensors of the same shapes: the token, its
position, and a mask over the whole cache. The first `EAGER_STEPS` steps run eagerly, which compiles kernels and makes
buffers; the next one is recorded, and that one and all after it replay the recording on buffers that are filled with
the arguments of the step. Every step is a step of the generation: there is no warm-up, so the cache needs no repair.

A recording is valid only if Python does nothing that matters within a step, and memory stays where it is. A cache layer
that counts in Python (that of sliding windows) is refused, and so are beams, which move the cache. A step with other
arguments than the recorded ones (another shape) runs eagerly. The output of a replayed step lies in the graph's memory
until the next one; transformers' loop copies what it keeps.

NOT CHECKED: never run on a GPU. Tests replay by running Python again on the same buffers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import StaticLayer

from wina_amp.decode.decoding import Decoding, cache_of
from wina_amp.errors import UserError

EAGER_STEPS = 3
"""Steps of every generation that are not recorded."""

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Records the device work of a function without running it, and returns a function that replays it."""


class GraphedForward:
    """A model's forward during one `generate()`, whose decode steps are replayed from a CUDA graph.

    Attributes:
        replayed: steps that were replayed.
    """

    def __init__(self, forward: Callable[..., Any], decoding: Decoding, record: Record | None = None) -> None:
        self.__signature__ = inspect.signature(forward)  # transformers asks what it may pass
        self._forward, self._decoding = forward, decoding
        self._record = cuda_graph if record is None else record
        self._steps = 0
        self._replay: Callable[[], None] | None = None
        self._given: dict[str, Any] = {}
        self._output: Any = None
        self.replayed = 0

    def __call__(self, *args: Any, **given: Any) -> Any:
        """The model's output; see the module for how long it lasts.

        Raises:
            UserError: a cache that cannot be recorded.
        """
        if args or not self._decoding.is_next_a_step(given.get("input_ids")):
            return self._forward(*args, **given)
        self._steps += 1
        if self._steps <= EAGER_STEPS:
            return self._forward(**given)
        if self._replay is None:
            _check_cache(cache_of(given))
            self._given = {name: _copy(value) for name, value in given.items()}
            self._replay = self._record(self._work)  # its Python counts this step
        elif not _is_like(self._given, given):
            return self._forward(**given)
        else:
            _fill(self._given, given)
            self._decoding.count_step()
        self._replay()
        self.replayed += 1
        return self._output

    def _work(self) -> None:
        self._output = self._forward(**self._given)


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """`Record` on a GPU."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def check_beams(number: int) -> None:
    """Refuse to record beam search.

    Raises:
        UserError: more than one beam.
    """
    if number > 1:
        raise UserError(
            "Decode steps can be recorded as a CUDA graph without beams only: beam search moves the cache",
            found=f"{number} beams",
            where="`generate()` with `cuda_graph=True`",
            remedy="leave `cuda_graph` or `num_beams` out",
        )


def check_device(device: torch.device) -> None:
    """Refuse to record on a device without CUDA.

    Raises:
        UserError: the model is not on a CUDA device.
    """
    if device.type != "cuda":
        raise UserError(
            "Decode steps can be recorded as a CUDA graph on a CUDA device only",
            found=f"a model on {device}",
            where="`cuda_graph=True` of `sparsify_`",
            remedy="leave `cuda_graph` out, or move the model to a GPU",
        )


def _check_cache(cache: Any) -> None:
    layers: list[Any] = list(getattr(cache, "layers", ()))
    # Exactly this class: its children count in Python.
    others = sorted({type(layer).__name__ for layer in layers if type(layer) is not StaticLayer})
    if others or not layers:
        raise UserError(
            "Decode steps can be recorded on a static cache of full attention only",
            found=", ".join(others) or "no cache",
            where="`generate()` with `cuda_graph=True`",
            remedy='pass `cache_implementation="static"`; leave `cuda_graph` out for a model with sliding windows',
        )


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return {name: _copy(inner) for name, inner in _items(value)} if isinstance(value, dict) else value


def _is_like(own: Any, other: Any) -> bool:
    """Whether a recording made with the arguments `own` is valid for `other`."""
    if isinstance(own, Tensor):
        return isinstance(other, Tensor) and own.shape == other.shape and own.dtype == other.dtype
    if isinstance(own, dict):
        names = {name for name, _ in _items(own)}
        is_same = isinstance(other, dict) and names == {name for name, _ in _items(other)}
        return is_same and all(_is_like(value, other[name]) for name, value in _items(own))
    return own is other or (not isinstance(other, Tensor) and bool(own == other))


def _fill(own: Any, other: Any) -> None:
    if isinstance(own, Tensor):
        own.copy_(other)
    elif isinstance(own, dict):
        for name, value in _items(own):
            _fill(value, other[name])


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(cast("dict[str, Any]", value).items())
