"""`wina-amp chat`: a conversation with a sparse model, and beside every answer what was sparse and how fast it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import TextStreamer

from wina_amp.cli.loading import model_and_set
from wina_amp.cli.output import console
from wina_amp.cli.stopwatch import Stopwatch
from wina_amp.decode.interleaved import clock
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.profile_set.sparsity import sparsify_

DENSE_TOKENS = 16
"""Tokens that the dense model decodes behind the same prompt, for its speed."""


def turns(
    model: str,
    path_or_repo: str,
    *,
    sparsity: float,
    tokens: int,
    backend: str,
    dtype: str,
    revision: str,
    is_shown: bool,
) -> Iterator[dict[str, Any]]:
    """Answer every line of standard input, until it ends.

    A tokenizer with a chat template gets the whole conversation in it; without one, the model continues the text so
    far. Every turn runs the whole conversation again, and is routed by it.

    Args:
        model, path_or_repo, sparsity, dtype, revision: see `model_and_set`.
        tokens: most of an answer.
        backend: see `sparsify_`.
        is_shown: write answers to standard output as they come.

    Yields: of every turn prompt, answer, group, realised sparsity, and tokens a second beside those of the dense model
        (None where an answer has a single token).

    Raises:
        UserError: see `model_and_set` and `sparsify_`; a conversation that is too long.
    """
    loaded, profiles = model_and_set(model, path_or_repo, sparsity=sparsity, dtype=dtype, revision=revision)
    now = clock(loaded.device)
    dense: Any = copy_sharing_weights(loaded.model)
    tokenizer: Any = loaded.tokenizer
    conversation = _Conversation(loaded)
    with sparsify_(loaded, profiles, sparsity=sparsity, backend=backend, measure=True) as sparse:
        sparse.warmup()
        lm: Any = loaded.model
        for line in _lines(is_shown):
            given = conversation.asked(line, tokens)
            shown = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True) if is_shown else None
            watch, beside = Stopwatch(now, shown), Stopwatch(now)
            options = {"do_sample": False, "pad_token_id": 0}
            made = lm.generate(**given, max_new_tokens=tokens, streamer=watch, **options)
            answer = tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
            conversation.answered(answer)
            dense.generate(
                **given, min_new_tokens=min(DENSE_TOKENS, tokens), max_new_tokens=min(DENSE_TOKENS, tokens),
                streamer=beside, **options
            )  # fmt: skip
            groups: Any = sparse.groups
            yield {
                "prompt": line,
                "answer": answer,
                "group": profiles.description.groups[int(groups[0])].name,
                "realised_sparsity": sparse.realised_sparsity,
                "tokens": watch.tokens,
                "tokens_per_second": _speed(watch),
                "dense_tokens_per_second": _speed(beside),
            }


def show(turn: Mapping[str, Any]) -> None:
    """Write what was sparse about an answer, below it."""
    sparse, dense = (_written(turn[name]) for name in ("tokens_per_second", "dense_tokens_per_second"))
    console().print(
        f"({turn['group']}, realised sparsity {turn['realised_sparsity']:.3f}, "
        f"{sparse} tokens a second, dense {dense})",
        style="dim",
        markup=False,
        soft_wrap=True,
    )


class _Conversation:
    """What was said, as the model reads it."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded, self._messages, self._text = loaded, list[dict[str, str]](), ""

    def asked(self, line: str, tokens: int) -> dict[str, torch.Tensor]:
        """Add a line of the user's; the ids and mask that the model continues."""
        tokenizer: Any = self._loaded.tokenizer
        if tokenizer.chat_template:
            self._messages.append({"role": "user", "content": line})
            text = tokenizer.apply_chat_template(self._messages, tokenize=False, add_generation_prompt=True)
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            self._text += line
            ids = tokenizer(self._text)["input_ids"]
            ids = ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
        context = self._loaded.context
        if not 0 < len(ids) <= context - tokens:
            must = f"A conversation and an answer of {tokens} tokens must fit into the context of {context} tokens"
            remedy = "begin a new conversation, or lower --tokens"
            raise UserError(must, found=f"{len(ids)} tokens", where="the conversation", remedy=remedy)
        row = torch.tensor([ids], device=self._loaded.device)
        return {"input_ids": row, "attention_mask": torch.ones_like(row)}

    def answered(self, answer: str) -> None:
        """Add what the model said."""
        self._messages.append({"role": "assistant", "content": answer})
        self._text += f"{answer}\n"


def _lines(is_shown: bool) -> Iterator[str]:
    """The lines of standard input that are not empty, with a sign in front where somebody types them."""
    while True:
        if is_shown and sys.stdin.isatty():
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _speed(watch: Stopwatch) -> float | None:
    seconds = watch.seconds_per_token
    return None if seconds is None else round(1 / seconds, 2)


def _written(speed: float | None) -> str:
    return "-" if speed is None else f"{speed:.1f}"
