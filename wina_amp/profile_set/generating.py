"""The calls of a sparse model: `generate()` and forward passes, whose prompts are routed once each.

Routing happens before the first pass, because only there is the whole prompt known, with its padding. The arguments of
`generate()` (sampling, beams, streamers, a static cache) go to transformers' own, with one change: nothing is compiled,
as transformers would do on a GPU with a static cache, because Python decides whether a pass is a decode step. Instead,
decode steps can be recorded as a CUDA graph (`wina_amp/decode/cuda_graph.py`).

A forward pass is a prompt, all of whose tokens are treated as those of the prompts of `generate()`. With a cache it may
be continued: the groups and masks of the sequences in a cache are kept for as long as the cache is, so that the next
turn of a conversation has the profile of the first, and a token behind the cache is a decode step.

Every call has a state of its own, and every thread its calls.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import Cache

from wina_amp.decode.cuda_graph import GraphedForward, check_beams
from wina_amp.decode.decoding import Decoding, cache_of, masked_prompt
from wina_amp.decode.sequences import Tally
from wina_amp.models.context import context_of
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.likelihoods import rows, scores
from wina_amp.profile_set.prompts import Prompts, check_lengths, check_positions, prompts_of, refusal
from wina_amp.routing.prompt_router import PromptRouter
from wina_amp.tokens.packing import PackedRow, visible

DEFAULT_NEW = 20
"""Tokens that transformers generates where nobody says how many (its default `max_length`, behind any prompt)."""

GENERATE, FORWARD = "`generate()`", "a forward pass"


@dataclass(frozen=True)
class Conversation:
    """The sequences that a cache holds.

    Attributes:
        groups: group of every row, whatever the target.
        prompt: tokens of the rows that are prompt tokens and masked; those behind these columns were decoded.
    """

    groups: Int[Tensor, " rows"]
    prompt: Bool[Tensor, "rows width"]


class _Here(threading.local):
    """The forward that this thread's call runs; None outside calls."""

    forward: Callable[..., Any] | None = None


class SparseCalls:
    """What a sparse model runs in place of its own `generate()` and `forward()`.

    Args:
        loaded: the model, before its methods are replaced.
        decoding: its sparse projections.
        router: None where there is nothing to choose.
        prefill: whether eligible prompt tokens are masked (`sparse`) or prompts run dense.
        dense_prefix: see `eligibility.eligible`.
        is_graphed: whether decode steps on a static cache are recorded as a CUDA graph.
        is_counted: whether kept inputs are counted.

    Attributes:
        group: the group of every prompt where there is no router.
        first: number of the current target's first group among the thresholds of `decoding`.
        groups: the group of every prompt of the last call; None before the first.
        tally: of the last call; None where nothing is counted.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        decoding: Decoding,
        router: PromptRouter | None,
        *,
        prefill: str,
        dense_prefix: int | float,
        group: int = 0,
        is_graphed: bool = False,
        is_counted: bool = False,
    ) -> None:
        self._model, self._device = loaded.model, loaded.device
        self._generate = cast(Callable[..., Any], loaded.model.generate)
        self._forward = loaded.model.forward
        self._decoding, self._router = decoding, router
        self._is_masked, self._dense_prefix = prefill == "sparse", dense_prefix
        self._is_graphed, self._is_counted = is_graphed, is_counted
        self._parameters = inspect.signature(self._forward)
        self._here = _Here()
        self._warned: set[str] = set()
        self._conversations: WeakKeyDictionary[Any, Conversation] = WeakKeyDictionary()
        self.group, self.first = group, 0
        self.groups: Int[Tensor, " prompts"] | None = None
        self.tally: Tally | None = None

    @property
    def is_running(self) -> bool:
        """Whether this thread is inside a call."""
        return self._here.forward is not None

    def generate(
        self, inputs: Tensor | None = None, generation_config: Any = None, *others: Any, **options: Any
    ) -> Any:
        """transformers' `generate()`, sparse; same arguments, same result.

        Raises:
            UserError: prompts that cannot be read or routed; lengths of which one would change the others' numbers;
                beams or a cache that cannot be recorded as a CUDA graph, if steps are; guidance; and see
                `Decoding.sequences`.
        """
        asked = _Asked(options, generation_config, self._model.generation_config)
        _refuse_guidance(asked)
        ids = inputs if inputs is not None else options.pop("input_ids", None)
        mask, embeddings = options.pop("attention_mask", None), options.get("inputs_embeds")
        prompts = prompts_of(ids, embeddings, mask, self._device, where=GENERATE)
        check_lengths(self._model.config, prompts.mask, asked.new_tokens(prompts.mask.shape[1]), where=GENERATE)
        copies = asked.largest("num_beams", "num_return_sequences")
        if self._is_graphed:
            check_beams(asked.largest("num_beams"))
        cache = cache_of(options)
        conversation, groups = self._begun(prompts, cache, copies)
        self._warn_once(len(conversation.groups))
        generation_config = _uncompiled(generation_config, options)
        graphed = GraphedForward(self._forward, self._decoding) if self._is_graphed else self._forward
        given = {"attention_mask": prompts.mask, **options}
        ids = ids if prompts.ids is None else prompts.ids
        work = partial(self._generate, ids, generation_config, *others, **given)
        return self._run(graphed, conversation, groups, cache, work)

    def forward(self, *args: Any, **given: Any) -> Any:
        """The model's own forward, sparse; without gradients. Inside a call, a pass of it.

        Raises:
            UserError: prompts that cannot be read or routed; a row of several sequences; and see `Decoding.sequences`.
        """
        forward = self._here.forward
        if forward is not None:
            return forward(*args, **given)
        named = self._parameters.bind(*args, **given).arguments
        named |= named.pop("kwargs", {})
        cache = cache_of(named)
        cached = _length(cache)
        mask, embeddings = named.get("attention_mask"), named.get("inputs_embeds")
        known = self._conversations.get(cache) if cached else None
        if known is None:
            prompts = prompts_of(named.get("input_ids"), embeddings, mask, self._device, where=FORWARD, cached=cached)
            if mask is None:
                check_positions(named.get("position_ids"), where=FORWARD)
            check_lengths(self._model.config, prompts.mask, 0, where=FORWARD)
            conversation, groups = self._begun(prompts, cache if cached else None, 1)
        else:
            conversation = known if self._is_masked else _with_dense_prompt(known, cached, _width(named))
            groups = known.groups
        with torch.no_grad():
            return self._run(self._forward, conversation, groups, cache, partial(self._forward, *args, **given))

    def score(self, prompt: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[tuple[float, bool]]:
        """See `Sparsity.score`."""
        ids = torch.tensor([prompt], dtype=torch.int64, device=self._device)
        begun, groups = self._begun(Prompts(ids, torch.ones_like(ids)), None, 1)
        scored: list[tuple[float, bool]] = []
        earlier: Tally | None = None
        for part in rows(prompt, continuations, self._widest_row):
            scored += self._scores(PackedRow(prompt, part), begun, groups)
            if self.tally is not None and earlier is not None:
                self.tally.add(earlier)
            earlier = self.tally
        return scored

    @property
    def _widest_row(self) -> int:
        """Tokens of a prompt and several continuations that the model can read side by side; 0 where it cannot."""
        config: Any = self._model.config
        return context_of(config) if config._attn_implementation == "sdpa" else 0

    def _scores(self, row: PackedRow, begun: Conversation, groups: Int[Tensor, " prompts"]) -> list[tuple[float, bool]]:
        behind = row.width - len(row.prompt)
        conversation = Conversation(groups, torch.cat([begun.prompt, begun.prompt.new_ones(1, behind)], dim=1))
        given = {"input_ids": row.ids} if row.is_plain else {"input_ids": row.ids, "position_ids": row.positions}
        tensors = {name: torch.tensor([numbers], device=self._device) for name, numbers in given.items()}
        if not row.is_plain:
            tensors["attention_mask"] = visible(torch.tensor([row.segments], device=self._device))
        work = partial(self._forward, **tensors, use_cache=False, logits_to_keep=behind + 1)
        with torch.no_grad():
            output = self._run(self._forward, conversation, groups, None, work)
        return scores(output.logits[0], row)

    def route(self, ids: Int[Tensor, "prompts width"], mask: Int[Tensor, "prompts width"]) -> Int[Tensor, " prompts"]:
        """The group of every prompt, on the model's device; padded on either side."""
        return self._routed(Prompts(ids, mask))

    def _routed(self, prompts: Prompts) -> Int[Tensor, " prompts"]:
        groups = torch.full((len(prompts.mask),), self.group, dtype=torch.int64, device=self._device)
        if self._router is None:
            return groups
        rows = prompts.alone()
        # A router that runs blocks runs them dense: every prompt token is declared, and none is masked.
        dense = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.bool, device=self._device)
        with self._decoding.sequences(groups, dense):
            return self._router(rows).to(self._device)

    def _begun(self, prompts: Prompts, cache: Any, copies: int) -> tuple[Conversation, Int[Tensor, " prompts"]]:
        """The sequences of a call, and the group of every prompt."""
        cached = _length(cache)
        known = self._conversations.get(cache) if cached else None
        prompt = masked_prompt(prompts.mask, self._dense_prefix) & self._is_masked
        if known is None:
            if self._router is not None and (prompts.ids is None or prompts.ids.shape != prompts.mask.shape):
                raise refusal(
                    "Prompts must be given as token ids from their beginning, because the router reads those",
                    "`inputs_embeds`" if prompts.ids is None else f"a cache of {cached} tokens of other calls",
                    "a call",
                    "pass `input_ids` of the whole prompt, or choose the profile: `sparsify_(..., group=...)`",
                )
            groups = self._routed(prompts)
            return Conversation(
                groups.repeat_interleave(copies, dim=0), prompt.repeat_interleave(copies, dim=0)
            ), groups
        if cached >= prompt.shape[1]:
            raise refusal(
                "`input_ids` must hold the whole conversation and go on behind what the cache holds",
                f"{prompt.shape[1]} tokens, and a cache of {cached}",
                "a call",
                "pass the tokens of all turns, with their `attention_mask`",
            )
        if len(known.groups) != len(prompt) * copies:
            raise refusal(
                f"A cache must be continued by the {len(known.groups)} sequences that it holds",
                f"{len(prompt)} prompts, of which {len(prompt) * copies} sequences are to be made",
                "a call",
                "continue it with as many, or start without a cache",
            )
        # What the cache holds was masked as it was; the tokens of this turn have no dense prefix.
        prompt = (prompts.mask.bool() & self._is_masked).repeat_interleave(copies, dim=0)
        prompt[:, :cached] = True
        seen = min(cached, known.prompt.shape[1])
        prompt[:, :seen] = known.prompt[:, :seen]
        return Conversation(known.groups, prompt), known.groups[::copies]

    def _warn_once(self, sequences: int) -> None:
        reason = self._decoding.slow_reason(sequences)
        if reason is not None and reason not in self._warned:
            self._warned.add(reason)
            text = f"sparse decoding saves no time here: {reason}; the same masks run as dense products"
            warnings.warn(text, stacklevel=4)

    def _run(
        self,
        forward: Callable[..., Any],
        conversation: Conversation,
        groups: Int[Tensor, " prompts"],
        cache: Any,
        work: Callable[[], Any],
    ) -> Any:
        before = self._here.forward
        numbers = conversation.groups + self.first
        with self._decoding.sequences(numbers, conversation.prompt, is_counted=self._is_counted) as sequences:
            self._here.forward = forward
            try:
                output = work()
            finally:
                self._here.forward = before
        for used in {id(used): used for used in (cache, _cache_in(output)) if used is not None}.values():
            self._conversations[used] = conversation
        self.groups, self.tally = groups, sequences.tally
        return output


@dataclass(frozen=True)
class _Asked:
    """The options of a `generate()`: those of the call, then of its configuration or else the model's."""

    options: dict[str, Any]
    given: Any
    own: Any

    def option(self, name: str) -> Any:
        """The value of an option; None where nobody says."""
        value = self.options.get(name)
        return value if value is not None else getattr(self.own if self.given is None else self.given, name, None)

    def largest(self, *names: str, default: int = 1) -> int:
        """The largest of some options."""
        return max(int(self.option(name) or default) for name in names)

    def new_tokens(self, width: int) -> int:
        """The most tokens that are generated behind prompts of this width."""
        new = self.largest("max_new_tokens", default=0)
        length = self.largest("max_length", default=0)
        if new or not length or (length == DEFAULT_NEW and "max_length" not in self.options):
            return new or DEFAULT_NEW
        return length - width


def _refuse_guidance(asked: _Asked) -> None:
    scale = asked.option("guidance_scale")
    if scale not in (None, 1, 1.0):
        raise refusal(
            "Every pass must be over the prompts: classifier-free guidance runs others beside them",
            f"`guidance_scale={scale}`",
            GENERATE,
            "leave it out, or generate with the dense model",
        )


def _with_dense_prompt(known: Conversation, cached: int, width: int) -> Conversation:
    """Several tokens behind a cache are the prompt of another turn; a single one is decoded."""
    if width == 1:
        return known
    prompt = known.prompt.new_zeros(len(known.groups), cached + width)
    return Conversation(known.groups, prompt)


def _length(cache: Any) -> int:
    """Tokens that a cache holds; of what is no cache transformers says so."""
    return int(cache.get_seq_length()) if isinstance(cache, Cache) else 0


def _width(named: Mapping[str, Any]) -> int:
    ids = named.get("input_ids")
    return int((named["inputs_embeds"] if ids is None else ids).shape[1])


def _cache_in(output: Any) -> Any:
    """The cache that a call gives back, or None."""
    if isinstance(output, Mapping):
        return cache_of(cast("Mapping[str, Any]", output))
    values: tuple[object, ...] = cast("tuple[object, ...]", output) if isinstance(output, tuple) else ()
    return next((value for value in values if isinstance(value, Cache)), None)


def _uncompiled(generation_config: Any, options: dict[str, Any]) -> Any:
    """A copy of the configuration with compilation off; without a configuration, the options are changed instead."""
    if generation_config is None:
        options["disable_compile"] = True
        return None
    uncompiled = deepcopy(generation_config)
    uncompiled.disable_compile = True
    return uncompiled
