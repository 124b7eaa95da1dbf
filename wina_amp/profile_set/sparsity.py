"""`sparsify_`: put a profile set on a live model, and `Sparsity`, the handle to take it off again.

    from wina_amp import ProfileSet, sparsify_

    sparsity = sparsify_(model, ProfileSet.from_pretrained("data/profile_sets/kl"), sparsity=0.5)
    model.generate(**tokenizer(prompt, return_tensors="pt"))
    sparsity.remove()

The model is one of transformers. Its shapes and weights are checked against those that the set was made for. While the
set is on it, the model's own `generate()` and `forward()` are sparse (`wina_amp/profile_set/generating.py`), for every
thread that calls them, and what would give wrong numbers is refused: a copy, which would run the layers of the
original, other weights than those that were copied for the kernels, and continuous batching, which has passes of its
own. Removing leaves the model bit for bit what it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from wina_amp.decode.cuda_graph import check_device
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.decode.input_major import input_major
from wina_amp.errors import UserError, unknown
from wina_amp.masks.override import overridden
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import AUTO, BFLOAT16, NUMBA, PREFILLS, WEIGHTS, Prefill, Weights
from wina_amp.profile_set.generating import SparseCalls
from wina_amp.profile_set.identity import CHECKS, Check, as_loaded, stamp
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.routing.prompt_router import PromptRouter
from wina_amp.scoring.learned_weights import attached

_MARK = "__reduce_ex__"
"""Attribute of every module of a sparse model: what `copy` and `pickle` ask for first."""

_CONTINUOUS = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
"""Methods of transformers that batch continuously."""


def sparsify_(
    model: PreTrainedModel | LoadedModel,
    profiles: ProfileSet,
    *,
    sparsity: float = 0.5,
    backend: str = AUTO,
    prefill: Prefill = "sparse",
    cuda_graph: bool = False,
    check: Check = "weights",
    group: int | str | None = None,
    measure: bool = False,
    weights: Weights = "copy",
) -> Sparsity:
    """Make a model's `generate()` and `forward()` sparse, in place, until the profile set is removed.

        sparsity = sparsify_(model, ProfileSet.from_pretrained("data/profile_sets/kl"), sparsity=0.5)
        model.generate(**tokenizer(prompt, return_tensors="pt"))
        sparsity.remove()

    Args:
        model: the model, on the device where it is to run, in eval mode.
        profiles: the profile set, made for these weights.
        sparsity: fraction of the projections' weights to skip; one of the set's targets.
        backend: a name in `wina_amp.decode.backends.BACKENDS`, or `AUTO`; all compute the same.
        prefill: `sparse` masks eligible prompt tokens too, as in the measurements; `dense` does not, which costs no
            time, because masked prompts run no faster. Decoded tokens are always sparse.
        cuda_graph: record the decode steps of every `generate(cache_implementation="static")` as a CUDA graph
            (`wina_amp/decode/cuda_graph.py`); CUDA only, no beams, no sliding windows.
        check: `weights` compares the model's weights with those that the set was made for, once for every model;
            `shapes` its family and shapes only; `none` nothing.
        group: number or name of the group whose profile all prompts have; None routes every prompt.
        measure: count what is masked, for `Sparsity.realised_sparsity`. On a CPU that costs decode steps of a large
            model less than a hundredth of their time; on a GPU several launches for every projection.
        weights: what decode steps read: a `copy` of the projections' weights, or the model's own, laid out anew
            (`replace`); on a CPU also a copy in `bfloat16`, together with one of `lm_head`.

    Returns: the handle, also a context manager:

        with sparsify_(model, profiles) as sparsity:
            model.generate(**batch)

    Guarantee: once removed, also after an error, the model is what it was: no attribute, hook or weight differs. Until
        then, a sequence's tokens do not depend on what it is batched with, or on other threads, up to the rounding of
        sums.

    Raises:
        UserError: unknown sparsity, backend, prefill, check, group or weights; `cuda_graph` without a GPU; a model that
            the set was not made for, that has a profile set on it already, is compiled, or whose weights are offloaded.
    """
    loaded = model if isinstance(model, LoadedModel) else as_loaded(model)
    return Sparsity(
        loaded,
        profiles,
        sparsity=sparsity,
        backend=backend,
        prefill=prefill,
        cuda_graph=cuda_graph,
        check=check,
        group=group,
        measure=measure,
        weights=weights,
    )


class Sparsity:
    """A profile set on a model; made by `sparsify_`, which documents the arguments.

        with sparsify_(model, profiles, measure=True) as sparsity:
            model.generate(**batch)
            print(sparsity.groups, sparsity.realised_sparsity)
            sparsity.sparsity = 0.65  # of calls from now on

    Attributes:
        model: the model, sparse until `remove()`.
        profiles: the profile set.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        profiles: ProfileSet,
        *,
        sparsity: float,
        backend: str,
        prefill: Prefill,
        cuda_graph: bool,
        check: Check,
        group: int | str | None,
        measure: bool,
        weights: Weights,
    ) -> None:
        if not isinstance(cast(object, profiles), ProfileSet):
            remedy = "load it: `ProfileSet.from_pretrained(path_or_repo)`"
            raise _refusal("`profiles` must be a profile set", type(profiles).__name__, remedy)
        model, description = loaded.model, profiles.description
        check_ready(model, description.name)
        options = (("prefill", prefill, PREFILLS), ("check", check, CHECKS), ("weights", weights, WEIGHTS))
        for kind, name, known in options:
            if name not in known:
                raise unknown(kind, name, known, f"`{kind}` of `sparsify_`")
        if cuda_graph:
            check_device(loaded.device)
        profiles.at(sparsity)
        fixed = None if group is None else _number(group, profiles)
        if check != "none":
            profiles.check(model, weights=check == "weights")
        self.model, self.profiles = model, profiles
        every_projection = projections(model)
        self._running = 0
        self._idle = threading.Condition()
        with ExitStack() as stack:
            for module in model.modules():
                stack.enter_context(overridden(module, _MARK, _refuse_copies))
            if weights == "replace":
                stack.enter_context(input_major(every_projection))
            head = [cast(nn.Linear, model.get_output_embeddings())] if weights == BFLOAT16 else []
            self._copied = [*(projection.module for projection in every_projection), *head]
            self._weights = stamp(self._copied)
            if profiles.weights is not None:
                stack.enter_context(attached(model, profiles.weights))
            # The profiles of all targets stand side by side, so that another target is another number.
            every = profiles.thresholds.flatten(0, 1)
            decoding = stack.enter_context(
                sparse_decoding(loaded, description.criterion, every, backend=backend, weights=weights)
            )
            if weights == "replace" and decoding.backend_for(1) != NUMBA:
                remedy = "leave `weights` out, or choose another backend, device or dtype"
                actual = f"backend {decoding.backend_for(1)}"
                raise _refusal(f'`weights="replace"` needs the backend {NUMBA}', actual, remedy)
            router = None
            if profiles.router is not None and description.router is not None and fixed is None:
                router = PromptRouter(profiles.router, description.router, loaded, description.dense_prefix)
            self._decoding = decoding
            self._calls = SparseCalls(
                loaded,
                decoding,
                router,
                prefill=prefill,
                dense_prefix=description.dense_prefix,
                group=fixed or 0,
                is_graphed=cuda_graph,
                is_counted=measure,
            )
            self._score = self._watched(_refuse_removed, self._calls.score)
            methods = {"generate": self._calls.generate, "forward": self._calls.forward}
            for name, method in methods.items():
                stack.enter_context(overridden(model, name, self._watched(getattr(model, name), method)))
            for name in _CONTINUOUS:
                if hasattr(model, name):
                    stack.enter_context(overridden(model, name, _refuse_batches))
            overrides = {module: vars(module).get("forward") for module in model.modules()}
            self._forwards = {module: forward for module, forward in overrides.items() if forward is not None}
            self._installed = stack.pop_all()
        self.sparsity = sparsity

    @property
    def sparsity(self) -> float:
        """The target. Setting it switches calls that begin later."""
        return self._sparsity

    @sparsity.setter
    def sparsity(self, target: float) -> None:
        self.profiles.at(target)
        targets = self.profiles.description.targets
        self._sparsity = target
        self._calls.first = targets.index(target) * len(self.profiles.description.groups)

    @property
    def groups(self) -> Int[Tensor, " prompts"] | None:
        """The group of every prompt of the last call; None before the first."""
        return self._calls.groups

    @property
    def realised_sparsity(self) -> float | None:
        """The fraction of the projections' weights that the eligible tokens of the last call skipped; None before the
        first, or without `measure`. Reading it waits for the device."""
        tally = self._calls.tally
        return None if tally is None else self._decoding.skipped(tally)

    @property
    def eligible_tokens(self) -> int | None:
        """The tokens of the last call that `realised_sparsity` is about, by which those of several calls are weighted;
        None before the first, or without `measure`. Reading it waits for the device."""
        tally = self._calls.tally
        return None if tally is None else int(tally.eligible.sum())

    def route(self, ids: Int[Tensor, "prompts width"], mask: Int[Tensor, "prompts width"]) -> Int[Tensor, " prompts"]:
        """The group of every prompt; see `SparseCalls.route`."""
        return self._calls.route(ids, mask)

    def score(self, prompt: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[tuple[float, bool]]:
        """The log-likelihood of every continuation of a prompt, and whether greedy decoding would produce it.

        The prompt alone is routed, and what follows it is masked as decoded tokens are, whatever `prefill`; all
        continuations share one pass over the prompt, as far as the model's context and attention allow.

        Args:
            prompt: token ids, at least one, without padding.
            continuations: token ids of each, at least one.

        Raises:
            UserError: a set that was removed; an empty prompt or continuation; what cannot be routed.
        """
        return self._score(prompt, continuations)

    def warmup(self, sequences: int = 1) -> None:
        """Copy the weights and compile the kernels that decode steps of this many sequences need, ahead of the first
        call."""
        self._decoding.warm(sequences)

    def remove(self) -> None:
        """Take the profile set off, once the calls of other threads have ended. Nothing happens the second time.

        Raises:
            UserError: inside a call of this thread, or under hooks that were put on the model later (accelerate's).
        """
        if self._calls.is_running:
            raise _refusal("A profile set must be removed between calls", "a call that runs", "let it end first")
        if any(vars(module).get("forward") is not ours for module, ours in self._forwards.items()):
            raise _refusal(
                "What was put on a sparse model later must be taken off before the profile set",
                "a `forward` of somebody else's",
                "remove it first (accelerate: `accelerate.hooks.remove_hook_from_module(model, recurse=True)`)",
            )
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0)
            self._forwards = {}
            self._installed.close()

    def __enter__(self) -> Sparsity:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _watched(self, own: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
        """A method that counts the calls of all threads, and checks the model when one begins."""
        calls = self._calls

        # transformers asks for the parameters.
        @wraps(own)
        def run(*args: Any, **options: Any) -> Any:
            if torch.compiler.is_compiling() or torch.jit.is_tracing():
                raise _compiled("`torch.compile`")
            if calls.is_running:
                return method(*args, **options)
            with self._idle:
                if not self._forwards:  # somebody kept the method after `remove()`
                    return own(*args, **options)
                self._running += 1
            try:
                self._check()
                return method(*args, **options)
            finally:
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()

        return run

    def _check(self) -> None:
        if self.model.training:
            raise _refusal(
                "A sparse model must be in eval mode: masks have no gradients", "train mode", "`model.eval()`"
            )
        if stamp(self._copied) != self._weights:
            raise _refusal(
                "A sparse model must keep its weights, their device and dtype: kernels have copies of them",
                "others than when the profile set was put on",
                "remove the profile set, change the model, and put it on again",
            )


def _refuse_removed(*_args: object) -> NoReturn:
    raise _refusal("A profile set must be on the model that scores", "one that was removed", "put it on again")


def _refuse_copies(*_args: object) -> NoReturn:
    raise _refusal(
        "A sparse model must not be copied or pickled: the copy would run the layers of the original",
        "a copy of it, or of a part",
        "remove the profile set, copy the model, and put the set on both",
    )


def _number(group: int | str, profiles: ProfileSet) -> int:
    names = [each.name for each in profiles.description.groups]
    if isinstance(group, str):
        if group not in names:
            raise unknown("group", group, names, "`group` of `sparsify_`")
        return names.index(group)
    if type(cast(object, group)) is not int or not 0 <= group < len(names):
        raise unknown("group", group, (*map(str, range(len(names))), *names), "`group` of `sparsify_`")
    return group


def check_ready(model: PreTrainedModel, name: str) -> None:
    """Refuse a model that is sparse already, compiled or offloaded.

    Args:
        model: the model.
        name: of the profile set that is to be put on it or made of it.

    Raises:
        UserError: it is one of these.
    """
    if _MARK in vars(model):
        must = "A model can have one profile set on it at a time"
        raise UserError(must, found="a second one", where=f"profile set {name}", remedy="remove the first one before")
    if vars(model).get("_compiled_call_impl") is not None:
        raise _compiled("`model.compile()`")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise _refusal(
            "The weights of a model must be on its device before a profile set is put on it",
            "weights that accelerate offloads",
            "load the model without `cpu_offload` and without a `device_map` that offloads",
        )


def _compiled(actual: str) -> UserError:
    must = "A sparse model must not be compiled: Python decides what a pass is"
    return _refusal(must, actual, "call the model itself; on a GPU, `cuda_graph=True` saves what compiling would")


def _refuse_batches(*_args: object, **_options: object) -> NoReturn:
    raise _refusal(
        "Every sequence of a sparse model must have a row of its own",
        "continuous batching, which puts several into one",
        "call `generate()` on batches, padded on the left",
    )


def _refusal(must: str, actual: str, remedy: str) -> UserError:
    return UserError(must, found=actual, where="a model and `sparsify_`", remedy=remedy)
