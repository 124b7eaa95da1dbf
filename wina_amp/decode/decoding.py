"""Sparse decoding: `generate()` of transformers, with its key/value cache and one profile per sequence.

    with sparse_decoding(loaded, "wina", thresholds) as decoding, decoding.sequences(groups, prompt):
        loaded.model.generate(**batch)

Every projection of the blocks gets another `forward` while the context lasts. A decode step, a pass over one token per
sequence behind the prompt, runs on a backend that reads the kept weights only; decoded tokens are always eligible.
Every other pass runs the layer's own forward, on inputs whose eligible prompt tokens are masked as by
`wina_amp.masks.reference`; a prompt without eligible tokens runs dense, through nothing but that forward. Decoding that
goes back (assisted generation) or runs without a cache is refused.

Backends that gather need the weights input-major. They are copied, so that dense passes keep their weights and their
bits: the projections take their memory twice while the context lasts. Where transformers runs all tokens anew into an
empty cache (Phi-3 does when a sequence grows past the length at which its rotary embeddings change), those behind the
prompt are masked as when they were decoded. A static cache works like a growing one, but
every pass then waits for the device once, to read how full it is. While a CUDA graph is recorded nothing may wait, and
the caller that records a step counts its tokens (`pipeline/latency/steps.py` and `wina_amp/decode/cuda_graph.py` do).

An MLP of silu and a product is run up to the input of `down` at once (`wina_amp/decode/gated.py` says which).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from wina_amp.decode.backends import Call, choose
from wina_amp.decode.gated import GatedMlp, gated_mlps
from wina_amp.decode.sequences import Sequences
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
        backend: a name in `wina_amp.decode.backends.BACKENDS`, or `AUTO`.

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
        layer, weights = mask_site.projection.module, projection_weights(criterion, mask_site.projection)
        layers[layer] = MaskedLayer(layer, cutoffs(weights, flat[:, index]))
    inputs = sites([mask_site.projection for mask_site in masked])
    shared_inputs = [SharedInput([layers[projection.module] for projection in site.projections]) for site in inputs]
    decoding = Decoding(shared_inputs, backend)
    decoding.backend_for(1)
    with ExitStack() as stack:
        handle = loaded.decoder.register_forward_pre_hook(decoding.begin_pass, with_kwargs=True)
        stack.callback(handle.remove)
        for shared, mlp in zip(shared_inputs, gated_mlps(loaded, inputs), strict=True):
            for index, layer in enumerate(shared.layers):
                stack.enter_context(overridden(layer.module, "forward", decoding.forward(shared, index)))
            if mlp is not None:
                stack.enter_context(overridden(mlp.module, "forward", decoding.gated_forward(mlp, shared)))
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
        shared_inputs: the projections of the blocks, those of one input together.
        backend: a name, or `AUTO`.
    """

    def __init__(self, shared_inputs: list[SharedInput], backend: str) -> None:
        self._shared_inputs = shared_inputs
        self._backend = backend
        self._batch: Sequences | None = None

    @contextmanager
    def sequences(self, groups: Int[Tensor, " batch"], prompt: Bool[Tensor, "batch width"]) -> Generator[None]:
        """Declare the next sequences; one `generate()` is one context. Passes outside are refused.

        Args:
            groups: group of every sequence, int64, on the model's device; with beams, of every beam.
            prompt: prompt tokens that are masked, of exactly the shape of the prompts, on the same device. All False
                runs them dense; `masked_prompt` gives the eligible ones.

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
        for shared in self._shared_inputs:
            shared.build(name)
        self._batch = Sequences(groups.contiguous(), prompt, name, is_prompt_masked=bool(prompt.any()))
        try:
            yield
        finally:
            self._batch = None
            for shared in self._shared_inputs:
                shared.clear()

    @property
    def _first(self) -> MaskedLayer:
        return self._shared_inputs[0].layers[0]

    def backend_for(self, tokens: int) -> str:
        """The name of the backend that runs decode steps of this many sequences.

        Raises:
            UserError: the requested backend is unknown or cannot run them.
        """
        weight = self._first.module.weight
        return choose(self._backend, Call(weight.device.type, weight.dtype, tokens))

    def begin_pass(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of the decoder: counts the tokens of this pass."""
        batch = self._batch
        if batch is None:
            raise RuntimeError("a model that decodes sparse must be run inside `Decoding.sequences(groups, prompt)`")
        given = (*args, kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        tokens = next(tensor for tensor in given if tensor is not None)
        if len(tokens) != len(batch.groups):
            raise RuntimeError(f"{len(batch.groups)} sequences were declared, the input has {len(tokens)}")
        cache = cache_of(kwargs)
        cached = batch.seen if _is_recording() else 0 if cache is None else int(cache.get_seq_length())
        if cached == 0 and tokens.shape[1] == batch.seen + 1 and kwargs.get("use_cache"):
            batch.seen = 0
        if cached != batch.seen:
            raise RuntimeError(
                f"the key/value cache must hold the {batch.seen} tokens seen so far, it holds {cached}: decode with a "
                "cache, forward only, and one generation per `Decoding.sequences`"
            )
        batch.advance(tokens.shape[1])
        for shared in self._shared_inputs:
            shared.clear()

    def is_next_a_step(self, tokens: Tensor | None) -> bool:
        """Whether a pass over these tokens, `[batch, width]`, would be a decode step."""
        batch = self._batch
        return batch is not None and tokens is not None and batch.is_step_next(tokens.shape[1])

    def count_step(self) -> None:
        """Note a decode step that runs without Python, from a CUDA graph."""
        if self._batch is not None:
            self._batch.advance(1)

    def forward(self, shared: SharedInput, index: int) -> Callable[[Tensor], Tensor]:
        """The forward that replaces that of a layer."""
        layer = shared.layers[index]
        dense: Callable[[Tensor], Tensor] = layer.module.forward

        def run(x: Tensor) -> Tensor:
            batch = self._batch
            if batch is None:
                raise RuntimeError("a layer that decodes sparse must be run by its model")
            if batch.is_step:
                return shared.product(index, x, batch.backend, batch.groups)
            if batch.eligible is None:
                return dense(x)
            kept = torch.zeros_like(batch.groups)
            return dense(reference.mask(x, layer.cutoffs, batch.groups, batch.eligible, kept))

        return run

    def gated_forward(self, mlp: GatedMlp, shared: SharedInput) -> Callable[[Tensor], Tensor]:
        """The forward that replaces that of an MLP."""
        dense: Callable[[Tensor], Tensor] = mlp.module.forward

        def run(x: Tensor) -> Tensor:
            batch = self._batch
            if batch is None or not batch.is_step or mlp.is_watched:
                return dense(x)
            return mlp.down(shared.built[batch.backend].gated(x[:, 0], batch.groups)[:, None])

        return run


def cache_of(arguments: Mapping[str, Any]) -> Any:
    """The key/value cache among the arguments of a forward, or None. transformers 5.24 renamed it."""
    return arguments.get("cache", arguments.get("past_key_values"))


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
