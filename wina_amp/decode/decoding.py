"""Sparse decoding: `generate()` of transformers, with its key/value cache and one profile per sequence.

    with sparse_decoding(loaded, "wina", thresholds) as decoding, decoding.sequences(groups, prompt):
        loaded.model.generate(**batch)

Every projection of the blocks gets another `forward` while the context lasts. A decode step, a pass over one token per
sequence behind the prompt, runs on a backend that reads the kept weights only; decoded tokens are always eligible.
Every other pass runs the layer's own forward, on inputs whose eligible prompt tokens are masked as by
`wina_amp.masks.reference`; a prompt without eligible tokens runs dense, through nothing but that forward. The cache
says which tokens a pass is over, so that decoding may go back (assisted generation) or run without a cache: tokens
behind the prompt are masked as when they were decoded.

Backends that gather need the weights input-major. They are copied, so that dense passes keep their weights and their
bits: the projections take their memory twice while the context lasts (unless they are stored input-major:
`wina_amp/decode/input_major.py`). On a CPU the copies may be rounded to bfloat16, those of `lm_head` too; then
decode steps read nothing large in the model's dtype. Thresholds and column norms stay those of the model's own weights.

A static cache works like a growing one, but every pass then waits for the device once, to read how full it is. While a
CUDA graph is recorded nothing may wait, and the caller that records a step counts its tokens
(`pipeline/latency/steps.py` and `wina_amp/decode/cuda_graph.py` do).

Every thread has its own sequences, so that several may call one model at a time.

An MLP of silu and a product is run up to the input of `down` at once (`wina_amp/decode/gated.py` says which).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from wina_amp.decode.backends import Call, choose, slow_reason
from wina_amp.decode.gated import GatedMlp, gated_mlps
from wina_amp.decode.sequences import Sequences, Tally
from wina_amp.decode.shared_input import MaskedLayer, SharedInput
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
from wina_amp.names import AUTO, BFLOAT16, THRESHOLD, Weights
from wina_amp.scoring.criteria import criterion_row, projection_weights


@contextmanager
def sparse_decoding(
    loaded: LoadedModel,
    criterion: str,
    thresholds: Float[Tensor, "groups blocks projections"],
    *,
    backend: str = AUTO,
    weights: Weights = "copy",
) -> Generator[Decoding]:
    """Decode with masks while the context lasts.

    Args:
        loaded: the model.
        criterion: how features are scored (`wina_amp.scoring.criteria`); it must score the inputs of projections.
        thresholds: `[groups, blocks, projections]` in canonical order; scores at or below are masked.
        backend: a name in `wina_amp.decode.backends.BACKENDS`, or `AUTO`.
        weights: what decode steps read (`wina_amp.names.WEIGHTS`).

    Yields: run the model inside its `sequences(groups, prompt)`.

    Guarantee: on exit, also after an error, the model is what it was: no attribute, hook or weight differs.

    Raises:
        UserError: unknown criterion or backend; a criterion that reads something else; a backend that cannot run on
            the model's device in its dtype.
        ValueError: thresholds of the wrong shape, negative, or NaN.
    """
    _refuse_other_criteria(criterion)
    masked = mask_sites(loaded.model, INPUT)
    check_values(thresholds, mask_kind(THRESHOLD), masked)
    flat = thresholds.reshape(len(thresholds), -1).to(loaded.device)
    layers: dict[nn.Module, MaskedLayer] = {}
    for index, mask_site in enumerate(masked):
        layer, factors = mask_site.projection.module, projection_weights(criterion, mask_site.projection)
        layers[layer] = MaskedLayer(layer, cutoffs(factors, flat[:, index]), index, weights)
    inputs = sites([mask_site.projection for mask_site in masked])
    shared_inputs = [
        SharedInput([layers[projection.module] for projection in site.projections], mlp)
        for site, mlp in zip(inputs, gated_mlps(loaded, inputs), strict=True)
    ]
    head = _dense_head(loaded, len(flat), weights) if weights == BFLOAT16 else None
    decoding = Decoding(shared_inputs, backend, weights, head)
    decoding.backend_for(1)
    with ExitStack() as stack:
        stack.callback(decoding.release)
        handle = loaded.decoder.register_forward_pre_hook(decoding.begin_pass, with_kwargs=True)
        stack.callback(handle.remove)
        for shared in shared_inputs:
            for index, layer in enumerate(shared.layers):
                stack.enter_context(overridden(layer.module, "forward", decoding.forward(shared, index)))
            if shared.mlp is not None:
                forward = decoding.gated_forward(shared.mlp, shared)
                stack.enter_context(overridden(shared.mlp.module, "forward", forward))
        if head is not None:
            stack.enter_context(overridden(head.layers[0].module, "forward", decoding.head_forward(head)))
        yield decoding


def masked_prompt(attention_mask: Int[Tensor, "batch width"], dense_prefix: int | float) -> Bool[Tensor, "batch width"]:
    """The prompt tokens that are masked if the prompt runs sparse too, wherever the tokenizer puts the padding."""
    is_token = attention_mask.bool()
    position = is_token.cumsum(dim=1) - 1
    return is_token & (position >= prefix_lengths(is_token.sum(dim=1), dense_prefix)[:, None])


class _Running(threading.local):
    """What this thread runs."""

    sequences: Sequences | None = None


class Decoding:
    """A model that decodes sparse; made by `sparse_decoding`.

    Args:
        shared_inputs: the projections of the blocks, those of one input together.
        backend: a name, or `AUTO`.
        weights: how backends store the weights.
        head: `lm_head`, nothing of whose input is masked, where its weights are rounded.
    """

    def __init__(
        self, shared_inputs: list[SharedInput], backend: str, weights: Weights, head: SharedInput | None
    ) -> None:
        self._shared_inputs = shared_inputs
        self._heads = [] if head is None else [head]
        self._backend = backend
        self._weights: Weights = weights
        self._running = _Running()
        self._building = threading.Lock()

    @contextmanager
    def sequences(
        self, groups: Int[Tensor, " batch"], prompt: Bool[Tensor, "batch width"], *, is_counted: bool = False
    ) -> Generator[Sequences]:
        """Declare the sequences of the passes that this thread runs inside; one `generate()` is one context. Passes
        outside are refused. A context inside another hides it.

        Args:
            groups: group of every sequence, int64, on the model's device; with beams, of every beam.
            prompt: prompt tokens that are masked, of exactly the shape of the prompts, on the same device. All False
                runs them dense; `masked_prompt` gives the eligible ones.
            is_counted: whether the inputs that eligible tokens keep are counted, in `tally`; it takes time.

        Raises:
            UserError: the requested backend cannot run as many sequences.
            ValueError: a group that has no profile; prompts of another number of sequences.
        """
        known = len(self._first.cutoffs)
        # Waits for the device once per generation: kernels do not check the numbers they look up.
        if not bool(((groups >= 0) & (groups < known)).all()):
            raise ValueError(f"groups must be in [0, {known}), got {groups.unique().tolist()}")
        if prompt.ndim != 2 or len(prompt) != len(groups):
            raise ValueError(f"prompt must be [{len(groups)}, width], got {list(prompt.shape)}")
        name = self.backend_for(len(groups))
        self._build(name)
        tally = Tally(sum(len(shared.layers) for shared in self._shared_inputs), groups) if is_counted else None
        before = self._running.sequences
        is_prompt_masked = bool(prompt.any())
        batch = Sequences(groups.contiguous(), prompt, name, is_prompt_masked=is_prompt_masked, tally=tally)
        self._running.sequences = batch
        try:
            yield batch
        finally:
            self._running.sequences = before
            batch.waiting.clear()

    def warm(self, tokens: int) -> None:
        """Copy the weights and compile the kernels for decode steps of this many sequences."""
        name, first = self.backend_for(tokens), self._first
        self._build(name)
        groups = torch.zeros(tokens, dtype=torch.int64, device=first.cutoffs.device)
        everything = torch.ones(tokens, 1, dtype=torch.bool, device=first.cutoffs.device)
        with torch.no_grad():
            for shared in self._shared_inputs:
                weight = shared.layers[0].module.weight
                x = weight.new_zeros(tokens, weight.shape[1])
                reference.mask(x[:, None], shared.layers[0].cutoffs, groups, everything, torch.zeros_like(groups))
                shared.built[name](x, groups)
                if shared.mlp is not None:
                    shared.built[name].gated(x, groups)

    def skipped(self, tally: Tally) -> float | None:
        """The fraction of all projections' weights that the eligible tokens of a call skipped; None if there was none.
        Waits for the device."""
        weights = [layer.module.weight for shared in self._shared_inputs for layer in shared.layers]
        numbers = [layer.number for shared in self._shared_inputs for layer in shared.layers]
        kept = tally.kept.sum(dim=1).tolist()
        eligible = int(tally.eligible.sum())
        read = sum(kept[number] * weight.shape[0] for number, weight in zip(numbers, weights, strict=True))
        return 1 - read / (eligible * sum(weight.numel() for weight in weights)) if eligible else None

    def release(self) -> None:
        """Give back what backends have copied of the weights."""
        for shared in self.products:
            shared.built.clear()

    def _build(self, name: str) -> None:
        with self._building:
            for shared in self.products:
                shared.build(name)

    @property
    def products(self) -> list[SharedInput]:
        """The inputs whose products backends compute: of projections, by block; of `lm_head` where it is rounded."""
        return [*self._shared_inputs, *self._heads]

    @property
    def _first(self) -> MaskedLayer:
        return self._shared_inputs[0].layers[0]

    def backend_for(self, tokens: int) -> str:
        """The name of the backend that runs decode steps of this many sequences.

        Raises:
            UserError: the requested backend is unknown or cannot run them.
        """
        return choose(self._backend, self._call(tokens))

    def slow_reason(self, tokens: int) -> str | None:
        """The reason why decode steps of this many sequences save no time, though `AUTO` was asked for the fastest."""
        return slow_reason(self._backend, self._call(tokens))

    def _call(self, tokens: int) -> Call:
        weight = self._first.module.weight
        device = weight.device.type
        return Call(device, weight.dtype, tokens, torch.is_autocast_enabled(device), self._weights)

    def begin_pass(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of the decoder: counts the tokens of this pass."""
        batch = self._running.sequences
        if batch is None:
            raise _outside("the decoder")
        given = (*args, kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        tokens = next(tensor for tensor in given if tensor is not None)
        if len(tokens) != len(batch.groups):
            raise UserError(
                f"A pass of a sparse model must be over the {len(batch.groups)} sequences of its prompts",
                found=f"{len(tokens)} sequences",
                where="the input of the decoder",
                remedy="decode the prompts together, or call the model for others in a call of their own",
            )
        cache = cache_of(kwargs)
        start = batch.seen if _is_recording() else 0 if cache is None else int(cache.get_seq_length())
        batch.begin(start, tokens.shape[1])

    def is_next_a_step(self, tokens: Tensor | None) -> bool:
        """Whether a pass over these tokens, `[batch, width]`, would be a decode step."""
        batch = self._running.sequences
        return batch is not None and tokens is not None and batch.is_step_at(batch.seen, tokens.shape[1])

    def count_step(self) -> None:
        """Note a decode step that runs without Python, from a CUDA graph."""
        if self._running.sequences is not None:
            self._running.sequences.seen += 1

    def forward(self, shared: SharedInput, index: int) -> Callable[[Tensor], Tensor]:
        """The forward that replaces that of a layer."""
        layer = shared.layers[index]
        dense: Callable[[Tensor], Tensor] = layer.module.forward
        running = self._running

        def run(x: Tensor) -> Tensor:
            batch = running.sequences
            if batch is None:
                raise _outside("a projection")
            if batch.is_step:
                if batch.tally is not None:
                    _count(layer, x, batch)
                return shared.product(index, x, batch.backend, batch.groups, batch.waiting)
            if batch.eligible is None:
                return dense(x)
            kept = torch.zeros_like(batch.groups) if batch.tally is None else batch.tally.kept[layer.number]
            return dense(reference.mask(x, layer.cutoffs, batch.groups, batch.eligible, kept))

        return run

    def gated_forward(self, mlp: GatedMlp, shared: SharedInput) -> Callable[[Tensor], Tensor]:
        """The forward that replaces that of an MLP."""
        dense: Callable[[Tensor], Tensor] = mlp.module.forward
        running = self._running

        def run(x: Tensor) -> Tensor:
            batch = running.sequences
            if batch is None or not batch.is_step or mlp.is_watched:
                return dense(x)
            if batch.tally is not None:
                for layer in shared.layers:
                    _count(layer, x, batch)
            return mlp.down(shared.built[batch.backend].gated(x[:, 0], batch.groups)[:, None])

        return run

    def head_forward(self, head: SharedInput) -> Callable[[Tensor], Tensor]:
        """The forward that replaces that of `lm_head`, which masks nothing."""
        dense: Callable[[Tensor], Tensor] = head.layers[0].module.forward
        running = self._running

        def run(x: Tensor) -> Tensor:
            batch = running.sequences
            if batch is None or not batch.is_step:
                return dense(x)
            return head.product(0, x, batch.backend, batch.groups, batch.waiting)

        return run


def cache_of(arguments: Mapping[str, Any]) -> Any:
    """The key/value cache among the arguments of a forward, or None. transformers 5.24 renamed it."""
    return arguments.get("cache", arguments.get("past_key_values"))


def _dense_head(loaded: LoadedModel, groups: int, weights: Weights) -> SharedInput:
    """`lm_head`, with cutoffs below every magnitude."""
    layer = cast(nn.Linear, loaded.model.get_output_embeddings())
    nothing = torch.full((groups, layer.weight.shape[1]), -1.0, device=loaded.device)
    return SharedInput([MaskedLayer(layer, nothing, weights=weights)])


def _outside(part: str) -> UserError:
    return UserError(
        "The parts of a sparse model must be run by the model, which knows the prompts",
        found="a call from outside",
        where=part,
        remedy="call the model or its `generate()`; inside this repository, in `Decoding.sequences(groups, prompt)`",
    )


def _count(layer: MaskedLayer, x: Tensor, batch: Sequences) -> None:
    assert batch.tally is not None
    is_masked = x[:, 0].abs() <= layer.cutoffs[batch.groups]
    batch.tally.kept[layer.number] += x.shape[-1] - is_masked.sum(dim=1)


def _is_recording() -> bool:
    """Whether a CUDA graph is being recorded."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _refuse_other_criteria(criterion: str) -> None:
    if criterion_row(criterion).reads != INPUT:
        raise UserError(
            "Sparse decoding needs a criterion that scores the inputs of projections",
            found=f"{criterion}, which reads the activated gate",
            where="the criterion of the profile set",
            remedy="use a profile set of another criterion; `wina_amp.masks.install` runs this one, saving no time",
        )
