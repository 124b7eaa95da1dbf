"""Decode on a sparse model: `generate()` of transformers, with its key/value cache, one profile per sequence.

    with sparse_decoding(loaded, "wina", thresholds) as decoding, decoding.sequences(groups, prompt):
        loaded.model.generate(**batch)

Every linear map of the blocks gets another `forward` while the context lasts. A pass over one token per sequence behind
the prompt, a decode step, runs it on a backend that reads the kept weights only; decoded tokens are always eligible.
Every other pass runs the map's own forward, on inputs whose eligible prompt tokens are masked as by
`wina_amp.masks.reference`; a prompt without eligible tokens runs dense, through nothing but that forward.

What a token is follows from counting: the decoder sees the tokens of a sequence in order, be the prompt cut into pieces
or one token long. Decoding that goes back (assisted generation) or runs without a cache is refused.

Backends that gather need the weights input-major. They are copied, so that dense passes keep their weights and their
bits: the projections take their memory twice while the context lasts. A static cache serves like a growing one, but
every pass then waits for the device once, to read how full it is. Not while a CUDA graph is recorded, where nothing
may wait: who records a step answers for its place (`pipeline/latency/steps.py` and `wina_amp/decode/cuda_graph.py` do).

Maps that read the same input (q, k and v; gate and up) are handed to the backend together, which may run them in one
launch: the map that is called first runs all, and the others are given what is theirs. An MLP of silu and a product is
run up to the input of `down` at once (`wina_amp/decode/gated.py` says which).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn

from wina_amp.decode.backends import BACKENDS, Call, choose
from wina_amp.decode.gated import GatedMlp, gated_mlps
from wina_amp.decode.maps import MaskedMap, SparseMaps
from wina_amp.errors import UserError
from wina_amp.masks import reference
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.masks.eligibility import prefix_lengths
from wina_amp.masks.install import check_values
from wina_amp.masks.kinds import mask_kind
from wina_amp.masks.override import overridden
from wina_amp.models.families import INPUT
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.projections import sites
from wina_amp.names import AUTO, THRESHOLD
from wina_amp.scoring.criteria import criterion_row, projection_weights


@contextmanager
def sparse_decoding(
    loaded: LoadedModel,
    criterion: str,
    thresholds: Float[Tensor, "groups blocks projections"],
    *,
    backend: str = AUTO,
) -> Generator[Decoding]:
    """Decode with masks while the context lasts.

    Args:
        loaded: the model.
        criterion: how features are scored (`wina_amp.scoring.criteria`); it must score the inputs of projections.
        thresholds: `[groups, blocks, projections]` in canonical order; scores at or below are masked.
        backend: a name in `sparse.backends.BACKENDS`, or `AUTO`.

    Yields: run the model inside its `sequences(groups, prompt)`.

    Guarantee: on exit, also after an error, the model is what it was: no attribute, hook or weight differs.

    Raises:
        UserError: unknown criterion or backend; a criterion that reads something else; a backend that cannot run on
            the model's device in its dtype.
        ValueError: thresholds of the wrong shape, negative, or NaN.
    """
    _refuse_other_criteria(criterion)
    every = mask_sites(loaded.model, INPUT)
    check_values(thresholds, mask_kind(THRESHOLD), every)
    flat = thresholds.reshape(len(thresholds), -1).to(loaded.device)
    limits: dict[nn.Module, Tensor] = {}
    for index, place in enumerate(every):
        weights = projection_weights(criterion, place.projection)
        limits[place.projection.module] = cutoffs(weights, flat[:, index])
    found = sites([place.projection for place in every])
    shared = [_Site([_Map(one.module, limits[one.module]) for one in site.projections]) for site in found]
    decoding = Decoding(shared, backend)
    decoding.backend_for(1)
    with ExitStack() as stack:
        handle = loaded.decoder.register_forward_pre_hook(decoding.begin_pass, with_kwargs=True)
        stack.callback(handle.remove)
        for site, mlp in zip(shared, gated_mlps(loaded, found), strict=True):
            for position, one in enumerate(site.maps):
                stack.enter_context(overridden(one.module, "forward", decoding.forward(site, position)))
            if mlp is not None:
                stack.enter_context(overridden(mlp.module, "forward", decoding.gated_forward(mlp, site)))
        yield decoding


def masked_prompt(attention_mask: Int[Tensor, "batch width"], dense_prefix: int | float) -> Bool[Tensor, "batch width"]:
    """The prompt tokens that are masked if the prompt runs sparse too, wherever the tokenizer puts the padding.

    Args:
        attention_mask: 1 for tokens, 0 for padding.
        dense_prefix: see `eligibility.eligible`.
    """
    is_token = attention_mask.bool()
    position = is_token.cumsum(dim=1) - 1
    return is_token & (position >= prefix_lengths(is_token.sum(dim=1), dense_prefix)[:, None])


class Decoding:
    """A model that decodes sparse; made by `sparse_decoding`.

    Args:
        shared: the linear maps of the blocks, those of one input together.
        backend: a name, or `AUTO`.
    """

    def __init__(self, shared: list[_Site], backend: str) -> None:
        self._sites = shared
        self._backend = backend
        self._batch: _Batch | None = None

    @contextmanager
    def sequences(self, groups: Int[Tensor, " batch"], prompt: Bool[Tensor, "batch width"]) -> Generator[None]:
        """Say what the next sequences are; one `generate()` is one context. Passes outside are refused.

        Args:
            groups: group of every sequence, int64, on the model's device; with beams, of every beam.
            prompt: prompt tokens that are masked, of exactly the shape of the prompts, on the same device. All False
                runs them dense; `masked_prompt` gives the eligible ones.

        Raises:
            UserError: the backend that was asked for cannot run as many sequences.
            ValueError: a group that has no profile; prompts of another number of sequences.
        """
        known = len(self._first.cutoffs)
        # Waits for the device once per generation: kernels do not check the numbers they look up.
        if not bool(((groups >= 0) & (groups < known)).all()):
            raise ValueError(f"groups must be in [0, {known}), got {groups.unique().tolist()}")
        if prompt.ndim != 2 or len(prompt) != len(groups):
            raise ValueError(f"prompt must be [{len(groups)}, width], got {list(prompt.shape)}")
        name = self.backend_for(len(groups))
        for site in self._sites:
            site.build(name)
        self._batch = _Batch(groups.contiguous(), prompt, name, is_prompt_masked=bool(prompt.any()))
        try:
            yield
        finally:
            self._batch = None
            for site in self._sites:
                site.forget()

    @property
    def _first(self) -> _Map:
        return self._sites[0].maps[0]

    def backend_for(self, tokens: int) -> str:
        """The name of the backend that runs decode steps of so many sequences.

        Raises:
            UserError: the backend that was asked for is unknown or cannot.
        """
        weight = self._first.module.weight
        return choose(self._backend, Call(weight.device.type, weight.dtype, tokens))

    def begin_pass(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook in front of the decoder: decides what the tokens of this pass are."""
        batch = self._batch
        if batch is None:
            raise RuntimeError("a model that decodes sparse must be run inside `Decoding.sequences(groups, prompt)`")
        given = (*args, kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        tokens = next(tensor for tensor in given if tensor is not None)
        if len(tokens) != len(batch.groups):
            raise RuntimeError(f"{len(batch.groups)} sequences were declared, the input has {len(tokens)}")
        cache = kwargs.get("past_key_values")
        cached = batch.seen if _is_recording() else 0 if cache is None else int(cache.get_seq_length())
        if cached != batch.seen:
            raise RuntimeError(
                f"the key/value cache must hold the {batch.seen} tokens seen so far, it holds {cached}: decode with a "
                "cache, forward only, and one generation per `Decoding.sequences`"
            )
        batch.advance(tokens.shape[1])
        for site in self._sites:
            site.forget()

    def is_next_a_step(self, tokens: Tensor | None) -> bool:
        """Whether a pass over these tokens, `[batch, width]`, would be a decode step."""
        batch = self._batch
        return batch is not None and tokens is not None and batch.is_step_next(tokens.shape[1])

    def count_step(self) -> None:
        """Note a decode step that runs without Python, from a CUDA graph."""
        if self._batch is not None:
            self._batch.advance(1)

    def forward(self, site: _Site, position: int) -> Callable[[Tensor], Tensor]:
        """What replaces the forward of a map."""
        one = site.maps[position]
        own: Callable[[Tensor], Tensor] = one.module.forward

        def run(x: Tensor) -> Tensor:
            batch = self._batch
            if batch is None:
                raise RuntimeError("a map that decodes sparse must be run by its model")
            if batch.is_step:
                return site.step(position, x, batch)
            if batch.eligible is None:
                return own(x)
            kept = torch.zeros_like(batch.groups)
            return own(reference.mask(x, one.cutoffs, batch.groups, batch.eligible, kept))

        return run

    def gated_forward(self, mlp: GatedMlp, site: _Site) -> Callable[[Tensor], Tensor]:
        """What replaces the forward of an MLP."""
        own: Callable[[Tensor], Tensor] = mlp.module.forward

        def run(x: Tensor) -> Tensor:
            batch = self._batch
            if batch is None or not batch.is_step or mlp.is_watched:
                return own(x)
            return mlp.down(site.built[batch.backend].gated(x[:, 0], batch.groups)[:, None])

        return run


@dataclass(frozen=True)
class _Map:
    """A linear map, and what it masks.

    Attributes:
        module: the map.
        cutoffs: per group and input.
    """

    module: nn.Linear
    cutoffs: Float32[Tensor, "groups in"]


@dataclass
class _Site:
    """Maps that read one input, and the backends that they were built for.

    Attributes:
        maps: in canonical order.
        built: name of a backend -> the sparse maps.
        given: the input of the step whose products wait for their maps; None: none wait.
        waiting: position of a map -> its product, until the map asks for it. Every product is handed out once, so that
            a map that is called again with the same tensor runs again.
    """

    maps: list[_Map]
    built: dict[str, SparseMaps] = field(default_factory=dict[str, SparseMaps])
    given: Tensor | None = None
    waiting: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def build(self, name: str) -> None:
        if name not in self.built:
            maps = [MaskedMap(one.module.weight, one.module.bias, one.cutoffs) for one in self.maps]
            self.built[name] = BACKENDS[name].build(maps)

    def step(self, position: int, x: Float[Tensor, "batch 1 in"], batch: _Batch) -> Float[Tensor, "batch 1 out"]:
        """The product of one map. A map that is given a tensor of its own (a hook may replace it) runs all."""
        if self.given is not x or position not in self.waiting:
            self.given = x
            self.waiting = dict(enumerate(self.built[batch.backend](x[:, 0], batch.groups)))
        product = self.waiting.pop(position)
        if not self.waiting:
            self.given = None
        return product[:, None]

    def forget(self) -> None:
        """Let go of products that nobody asked for."""
        self.given = None
        self.waiting.clear()


@dataclass
class _Batch:
    """The sequences that are being generated, and the pass that is running.

    Attributes:
        groups: group of every sequence.
        prompt: prompt tokens that are masked.
        backend: runs decode steps.
        is_prompt_masked: whether any is.
        seen: tokens of every sequence up to and including this pass.
        is_step: whether this pass is a decode step.
        eligible: tokens of this pass that are masked where it is no step; None: it is dense, or a step.
    """

    groups: Int[Tensor, " batch"]
    prompt: Bool[Tensor, "batch width"]
    backend: str
    is_prompt_masked: bool
    seen: int = 0
    is_step: bool = False
    eligible: Tensor | None = None

    def is_step_next(self, width: int) -> bool:
        """Whether a pass over the next `width` tokens is a decode step."""
        return self.seen >= self.prompt.shape[1] and width == 1

    def advance(self, width: int) -> None:
        """Begin a pass over the next `width` tokens of every sequence."""
        start, end = self.seen, self.prompt.shape[1]
        self.is_step = self.is_step_next(width)
        self.seen += width
        is_masked = (self.is_prompt_masked or self.seen > end) and not self.is_step
        if is_masked:
            behind = self.prompt.new_ones(len(self.prompt), max(self.seen - max(start, end), 0))
            self.eligible = torch.cat([self.prompt[:, start : self.seen], behind], dim=1)
        else:
            self.eligible = None


def _is_recording() -> bool:
    """Whether a CUDA graph is being recorded."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _refuse_other_criteria(criterion: str) -> None:
    if criterion_row(criterion).reads != INPUT:
        raise UserError(
            "Sparse decoding needs a criterion that scores the inputs of projections",
            found=f"{criterion}, which reads the activated gate",
            where="the criterion of the profile set",
            remedy="use a profile set of another criterion; `sparse.install` runs this one, without saving time",
        )
