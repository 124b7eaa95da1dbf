"""`generate()` of a model with an installed profile set: every prompt is routed once, then decoded sparse.

Routing happens in `generate()`, because only there is the whole prompt known, with its padding, before the first pass.
Its arguments (sampling, beams, streamers, a static cache) go to transformers' own `generate()`, with one change:
nothing is compiled, as transformers would do on a GPU with a static cache, because Python decides whether a pass is a
decode step. Instead, decode steps can be recorded as a CUDA graph (`wina_amp/decode/cuda_graph.py`). Calling the model
itself, outside `generate()`, is refused while the profile set is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from wina_amp.decode.cuda_graph import GraphedForward, check_beams
from wina_amp.decode.decoding import Decoding, masked_prompt
from wina_amp.errors import UserError, unknown
from wina_amp.masks.override import overridden
from wina_amp.models.context import LONGROPE, rope_change
from wina_amp.names import PREFILLS
from wina_amp.routing.prompt_router import PromptRouter

DEFAULT_NEW = 20
"""Tokens that transformers generates where nobody says how many (its default `max_length`, behind any prompt)."""


class SparseModel:
    """A model while a profile set is installed on it; made by `ProfileSet.installed`.

    Args:
        model: the model.
        decoding: its sparse projections.
        router: None where there is one group.
        prefill: whether eligible prompt tokens are masked (`sparse`) or prompts run dense.
        dense_prefix: see `eligibility.eligible`.
        graph: whether decode steps on a static cache are recorded as a CUDA graph.

    Attributes:
        groups: the group of every prompt of the last `generate()`; None before the first.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        decoding: Decoding,
        router: PromptRouter | None,
        *,
        prefill: str,
        dense_prefix: int | float,
        graph: bool = False,
    ) -> None:
        self._graph = graph
        self._generate = cast(Callable[..., Any], model.generate)
        self._model, self._decoding, self._router = model, decoding, router
        self._prefill, self._dense_prefix = prefill, dense_prefix
        self.groups: Int[Tensor, " prompts"] | None = None

    def generate(self, inputs: Tensor | None = None, generation_config: Any = None, **options: Any) -> Any:
        """transformers' `generate()`, sparse; same arguments, same result.

        Prompts must be token ids: `inputs` or `input_ids`, with the tokenizer's `attention_mask` where there are
        several.

        Raises:
            UserError: prompts that are no token ids, several without a mask, or one without a token; lengths of which
                one would change the others' numbers; beams or a cache that cannot be recorded as a CUDA graph, if steps
                are; and see `Decoding.sequences`.
        """
        ids = inputs if inputs is not None else options.pop("input_ids", None)
        ids, mask = _prompts(ids, options.pop("attention_mask", None), self._model.device)
        check_lengths(self._model.config, mask, self._new_tokens(ids.shape[1], generation_config, options))
        self.groups = self.route(ids, mask)
        copies = self._copies(generation_config, options)
        if self._graph:
            check_beams(self._largest(("num_beams",), generation_config, options))
        generation_config = _uncompiled(generation_config, options)
        prompt = masked_prompt(mask, self._dense_prefix) & (self._prefill == "sparse")
        groups, prompt = self.groups.repeat_interleave(copies, dim=0), prompt.repeat_interleave(copies, dim=0)
        with self._decoding.sequences(groups, prompt), self._recorded():
            return self._generate(ids, generation_config, attention_mask=mask, **options)

    def route(self, ids: Int[Tensor, "prompts width"], mask: Int[Tensor, "prompts width"]) -> Int[Tensor, " prompts"]:
        """The group of every prompt, on the model's device.

        Args:
            ids: token ids, padded on either side.
            mask: 1 for tokens, 0 for padding.
        """
        groups = torch.zeros(len(ids), dtype=torch.int64, device=self._model.device)
        if self._router is None:
            return groups
        is_token = mask.bool().cpu()
        prompts = [row[kept].numpy() for row, kept in zip(ids.cpu(), is_token, strict=True)]
        # A router that runs blocks runs them dense: every prompt token is declared, and none is masked.
        dense = torch.zeros(len(ids), int(is_token.sum(dim=1).max()), dtype=torch.bool, device=groups.device)
        with self._decoding.sequences(groups, dense):
            return self._router(prompts).to(groups.device)

    def _recorded(self) -> AbstractContextManager[None]:
        if not self._graph:
            return nullcontext()
        return overridden(self._model, "forward", GraphedForward(self._model.forward, self._decoding))

    def _copies(self, generation_config: Any, options: dict[str, Any]) -> int:
        """Sequences that transformers makes of every prompt: beams, or samples if they are more."""
        return self._largest(("num_beams", "num_return_sequences"), generation_config, options)

    def _new_tokens(self, width: int, generation_config: Any, options: dict[str, Any]) -> int:
        """The most tokens that are generated."""
        new = self._largest(("max_new_tokens",), generation_config, options, default=0)
        length = self._largest(("max_length",), generation_config, options, default=0)
        if new or not length or (length == DEFAULT_NEW and "max_length" not in options):
            return new or DEFAULT_NEW
        return length - width

    def _largest(
        self, names: tuple[str, ...], generation_config: Any, options: dict[str, Any], default: int = 1
    ) -> int:
        config = generation_config if generation_config is not None else self._model.generation_config
        return max(int(options.get(name) or getattr(config, name, None) or default) for name in names)


def check_lengths(config: PreTrainedConfig, mask: Bool[Tensor, "prompts width"], new: int) -> None:
    """Refuse a batch in which one sequence would change the numbers of another, or padding its own.

    That happens where rotary embeddings change with the longest sequence of a batch (`rope_change`) and some, but not
    all, sequences are past that length.

    Args:
        config: of the model.
        mask: of the prompts, 1 for tokens.
        new: the most tokens that are generated.

    Raises:
        UserError: prompts of different lengths, or padded ones, that pass the length; under `dynamic` any that do,
            because then earlier generations change the numbers as well.
    """
    kind, limit = rope_change(config)
    if limit is None:
        return
    lengths = mask.sum(dim=1)
    longest, shortest = int(lengths.max()) + new, int(lengths.min())
    is_one_side = longest <= limit or (kind == LONGROPE and (bool(mask.bool().all()) or shortest > limit))
    if not is_one_side:
        raise _refusal(
            f"Sequences that grow past {limit} tokens must not change each other's rotary embeddings ({kind})",
            f"{len(mask)} prompts of {shortest} to {longest - new} tokens, of which up to {longest} are to be made",
            f"generate fewer tokens{', or one prompt at a time, without padding' if kind == LONGROPE else ''}",
        )


def check_prefill(prefill: str) -> None:
    """Refuse an unknown way to run prompts.

    Raises:
        UserError: it is not in `PREFILLS`.
    """
    if prefill not in PREFILLS:
        raise unknown("prefill", prefill, PREFILLS, "`prefill` of the installed profile set")


def _uncompiled(generation_config: Any, options: dict[str, Any]) -> Any:
    """A copy of the configuration with compilation off; without a configuration, the options are changed instead."""
    if generation_config is None:
        options["disable_compile"] = True
        return None
    uncompiled = deepcopy(generation_config)
    uncompiled.disable_compile = True
    return uncompiled


def _prompts(ids: object, mask: object, device: torch.device) -> tuple[Int[Tensor, "a b"], Bool[Tensor, "a b"] | Any]:
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
        actual = f"{list(ids.shape)} in {ids.dtype}" if isinstance(ids, Tensor) else type(ids).__name__
        raise _refusal("Prompts must be token ids, `[prompts, width]`", actual, "pass the tokenizer's `input_ids`")
    if mask is None and len(ids) > 1:
        remedy = "pass the tokenizer's `attention_mask`; padding must neither be routed nor masked"
        raise _refusal("Several prompts need an attention mask", f"{len(ids)} prompts and no mask", remedy)
    mask = torch.ones_like(ids) if mask is None else mask
    if not isinstance(mask, Tensor) or mask.shape != ids.shape:
        actual = f"{list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        remedy = "pass the tokenizer's `attention_mask`"
        raise _refusal(f"The attention mask must have the prompts' shape, {list(ids.shape)}", actual, remedy)
    if not bool(mask.bool().any(dim=1).all()):
        raise _refusal("Every prompt must have a token", "a row of padding alone", "leave empty prompts out")
    return ids.to(device), mask.to(device)


def _refusal(must: str, actual: str, remedy: str) -> UserError:
    return UserError(must, found=actual, where="`generate()` of a model with an installed profile set", remedy=remedy)
