"""Decode steps of one model behind one context, dense or sparse, in one of the ways a step can be run.

    eager       Python runs the model
    compiled    torch.compile; on a GPU in the mode that records CUDA graphs itself
    graph       CUDA graph of the eager step: no Python, no launches one by one

A step is the model's own forward pass over one token a sequence, with `lm_head` and the choice of the likeliest token,
on transformers' static cache, which holds the context and all steps from the start, as a graph needs it, in layers of a
sliding window, too: transformers' own for those count steps in Python, so that each would be compiled anew (20 s a step
of Gemma 270M), and a graph would repeat the count that it was recorded with. Masks keep attention to the window. Dense
and sparse steps are run in the same way. The context runs dense and is not timed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel, StaticCache
from transformers.cache_utils import StaticLayer

from wina_amp.decode.decoding import Decoding

log = logging.getLogger("pipeline.latency")

Step = Callable[[Tensor, Any], Tensor]
"""(tokens `[batch, 1]`, cache) -> the likeliest next tokens `[batch]`."""

Way = Callable[[Step, Tensor, Any], Callable[[], object]]
"""(step, token buffer, cache) -> a function that runs one step over the buffer. Making it may run steps."""

DENSE_WAYS = {"cpu": ("eager", "compiled"), "cuda": ("eager", "graph", "compiled")}
"""Ways in which the dense model is tried, by device; the first must work."""

SPARSE_WAYS = {"cpu": ("eager",), "cuda": ("graph", "eager")}
"""Ways in which sparse decoding is tried, by device: the first that works is taken."""

_RECORDED_AFTER = 3
"""Eager steps on a stream of their own before a graph is recorded: kernels compile and libraries make their buffers."""

_COMPILED_AT_MOST = 64
"""Batches and contexts that one step function may be compiled for; torch's own is 8, and it runs eager beyond."""


class Steps:
    """Decode steps of a model behind a context; they can be run any number of times.

    Args:
        model: the model.
        ids: the context and the tokens of the steps, on the model's device.
        context: how many of them are the context.
        way: a name in `WAYS`.
    """

    def __init__(self, model: PreTrainedModel, ids: Int[Tensor, "batch width"], context: int, way: str) -> None:
        self.way = way
        self._model, self._ids, self._context = model, ids, context
        cache: Any = StaticCache(config=model.config, max_cache_len=ids.shape[1])
        cache.layers = [StaticLayer(ids.shape[1]) for _ in cache.layers]
        self._cache: StaticCache = cache
        self._token = ids[:, :1].clone()
        self._at = context
        self._work: Callable[[], object] | None = None

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values, which every step reads; 0 before the first context ran."""
        layers: Any = self._cache.layers
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers if layer.is_initialized)

    def get_ready(self) -> None:
        """Compile or record, once; `begin` must be called afterwards.

        Raises:
            RuntimeError: the way does not work for this model on this machine.
        """
        if self._work is None:
            self.begin()
            self._work = WAYS[self.way](_step_of(self._model), self._token, self._cache)
            self.close()

    def begin(self) -> None:
        """Run the context; the next step is the first behind it."""
        self._cache.reset()
        decoder: nn.Module = self._model.base_model
        decoder(input_ids=self._ids[:, : self._context], past_key_values=self._cache, use_cache=True)
        self._at = self._context

    def close(self) -> None:
        """No step follows until the next `begin`."""

    def __call__(self) -> object:
        """One step, as many as there are tokens behind the context: the likeliest next tokens, from a graph nothing."""
        if self._work is None:
            raise RuntimeError("`get_ready` must be called before the first step")
        self._token.copy_(self._ids[:, self._at : self._at + 1])
        self._at += 1
        return self._work()


class SparseSteps(Steps):
    """Decode steps of a model that decodes sparse; its context runs dense.

    Args:
        model: the model, under `sparse_decoding`.
        ids, context: see `Steps`.
        way: a name in `WAYS`, not `compiled`: Python decides what a pass is.
        decoding: from `sparse_decoding`; it serves one `SparseSteps` at a time, from `begin` to `close`.
        groups: group of every sequence, on the model's device.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ids: Int[Tensor, "batch width"],
        context: int,
        way: str,
        decoding: Decoding,
        groups: Int[Tensor, " batch"],
    ) -> None:
        super().__init__(model, ids, context, way)
        self._decoding, self._groups = decoding, groups
        self._dense = torch.zeros(len(ids), context, dtype=torch.bool, device=ids.device)
        self._inside = ExitStack()

    def begin(self) -> None:
        """Run the context; the next step is the first behind it."""
        self.close()
        self._inside.enter_context(self._decoding.sequences(self._groups, self._dense))
        super().begin()

    def close(self) -> None:
        """Leave the sequences, so that others can be decoded."""
        self._inside.close()


def sparse_steps(
    model: PreTrainedModel,
    ids: Int[Tensor, "batch width"],
    context: int,
    decoding: Decoding,
    groups: Int[Tensor, " batch"],
) -> SparseSteps:
    """`SparseSteps` that are ready, in the first of `SPARSE_WAYS` that works.

    Raises:
        RuntimeError: none works.
    """
    *others, last = SPARSE_WAYS[ids.device.type]
    for way in others:
        steps = SparseSteps(model, ids, context, way, decoding, groups)
        try:
            steps.get_ready()
        except RuntimeError as error:
            steps.close()
            log.warning("sparse decoding is not timed as %s: %s", way, error)
            continue
        return steps
    steps = SparseSteps(model, ids, context, last, decoding, groups)
    steps.get_ready()
    return steps


def recorded(work: Callable[[], object]) -> Callable[[], object]:
    """The work as a CUDA graph: a function that repeats on the device what `work` did there.

    Raises:
        RuntimeError: there is no GPU, or the work waits for the device or allocates where a graph may not.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("a CUDA graph needs a CUDA device")
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_RECORDED_AFTER):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _step_of(model: PreTrainedModel) -> Step:
    def step(token: Tensor, cache: Any) -> Tensor:
        return model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(dim=-1)

    return step


def _eager(step: Step, token: Tensor, cache: Any) -> Callable[[], object]:
    return lambda: step(token, cache)


def _compiled(step: Step, token: Tensor, cache: Any) -> Callable[[], object]:
    mode = "reduce-overhead" if token.is_cuda else None
    fast: Step = torch.compile(step, dynamic=False, mode=mode)

    def work() -> object:
        if token.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()
        return fast(token, cache)

    dynamo: Any = torch._dynamo.config  # pyright: ignore[reportPrivateUsage]
    with dynamo.patch(recompile_limit=_COMPILED_AT_MOST):
        work()
    return work


def _graph(step: Step, token: Tensor, cache: Any) -> Callable[[], object]:
    return recorded(lambda: step(token, cache))


WAYS: dict[str, Way] = {"eager": _eager, "compiled": _compiled, "graph": _graph}
