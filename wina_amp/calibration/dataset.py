"""What a user calibrates on -> samples as tokens.

An item is one of these, as datasets of the hub have them:

    "some text", {"text": "some text"}
    ("prompt", "answer"), {"prompt": "prompt", "completion": "answer"}
    [{"role": "user", "content": "..."}, ..., {"role": "assistant", "content": "..."}], {"messages": [...]}

A text is a prompt and its continuation, half of the tokens each: routers and clusters see the first, `kl` predicts the
second. The answer of a conversation is its last message; the tokenizer's chat template makes a text of it. Prompt and
answer are encoded as everywhere (`wina_amp/tokens/encoding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase

from wina_amp.errors import UserError
from wina_amp.masks.eligibility import prefix_lengths
from wina_amp.tokens.encoding import encode_pairs, encode_prompts
from wina_amp.tokens.samples import TokenizedSample

_FORMS = (
    'a text, {"text": ...}, (prompt, answer), {"prompt": ..., "completion": ...}, a list of chat messages, or '
    '{"messages": [...]}'
)
_WHERE = "`dataset` of `calibrate`"

Pair = tuple[str, str]


def tokenized(
    dataset: Iterable[object],
    tokenizer: PreTrainedTokenizerBase,
    *,
    samples: int,
    length: int,
    dense_prefix: int | float,
) -> list[TokenizedSample]:
    """The first samples of a dataset that have enough tokens, as tokens.

    Args:
        dataset: items of the forms above; an iterator or a streamed dataset is read no further than needed.
        tokenizer: the model's.
        samples: most samples.
        length: most tokens of a sample; what is longer is cut off behind them.
        dense_prefix: see `eligibility.eligible`. Samples whose prompt is no longer are passed over, and those without
            an answer, or without room for it.

    Raises:
        UserError: an item of another form, named by its number; a conversation and no chat template; no sample that is
            long enough.
    """
    _refuse_wrapped(dataset)
    items = iter(dataset)
    chosen: list[TokenizedSample] = []
    seen = 0
    while len(chosen) < samples:
        more = list(islice(items, samples - len(chosen)))
        if not more:
            break
        read = [_read(item, seen + number, tokenizer) for number, item in enumerate(more)]
        seen += len(more)
        for prompt, answer in _encoded(read, tokenizer, length):
            if answer and len(prompt) > int(prefix_lengths(torch.tensor([len(prompt)]), dense_prefix)):
                chosen.append(TokenizedSample(f"{len(chosen):08d}", prompt, answer))
    if not chosen:
        raise UserError(
            f"A sample must have a prompt that is longer than the dense prefix, and an answer within {length} tokens",
            found=f"none of {seen}",
            where=_WHERE,
            remedy="give longer texts, raise `length`, or lower `dense_prefix`",
        )
    return chosen


def _refuse_wrapped(dataset: object) -> None:
    """Iterating these would give names of splits, columns or letters, all of them texts."""
    if isinstance(dataset, Mapping):
        names = ", ".join(map(str, list(cast(Mapping[object, object], dataset))[:4]))
        actual, remedy = f"a mapping with {names}", 'take one of its splits: `dataset["train"]`'
    elif isinstance(dataset, str):
        actual, remedy = "one text", "pass a list of texts; `wina-amp calibrate` reads files"
    elif hasattr(dataset, "iterrows"):
        actual, remedy = type(dataset).__name__, 'pass its rows: `dataset.to_dict("records")`'
    elif not isinstance(dataset, Iterable):
        actual, remedy = type(dataset).__name__, "pass a list or a `datasets.Dataset`"
    else:
        return
    raise UserError(f"A dataset must be a series of {_FORMS}", found=actual, where=_WHERE, remedy=remedy)


def _read(item: object, number: int, tokenizer: PreTrainedTokenizerBase) -> str | Pair:
    """A text, or a prompt and its answer."""
    values: Any = item
    if isinstance(values, Mapping):
        row = cast(Mapping[str, Any], values)
        if "messages" in row:
            values = row["messages"]
        elif "prompt" in row and "completion" in row:
            values = (row["prompt"], row["completion"])
        else:
            values = row.get("text")
    if isinstance(values, str):
        return values
    if isinstance(values, list | tuple):
        parts = cast(Sequence[Any], values)
        if len(parts) == 2 and all(isinstance(part, str) for part in parts):
            return parts[0], parts[1]
        if parts and all(isinstance(part, Mapping) and {"role", "content"} <= {*part} for part in parts):
            return _conversation(cast(Sequence[Mapping[str, str]], parts), number, tokenizer)
    keys = f" with {', '.join(map(str, cast(Mapping[str, Any], item)))}" if isinstance(item, Mapping) else ""
    raise UserError(
        f"Every item must be {_FORMS}",
        found=f"{type(item).__name__}{keys}",
        where=f"item {number} of {_WHERE}",
        remedy="map the dataset to one of these forms",
    )


def _conversation(messages: Sequence[Mapping[str, str]], number: int, tokenizer: PreTrainedTokenizerBase) -> Pair:
    """The text in front of the last message, and that message with what the template puts behind it."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        must, found = "The last message of a conversation must be the assistant's answer", messages[-1]["role"]
        raise UserError(
            must, found=found, where=f"item {number} of {_WHERE}", remedy="leave the question out, or answer it"
        )
    if not tokenizer.chat_template:
        must, remedy = "Conversations need a tokenizer with a chat template", "give texts, or (prompt, answer) pairs"
        raise UserError(must, found="a tokenizer without", where=f"item {number} of {_WHERE}", remedy=remedy)
    template: Any = tokenizer.apply_chat_template
    plain = [dict(message) for message in messages]
    prompt: str = template(plain[:-1], tokenize=False, add_generation_prompt=True)
    whole: str = template(plain, tokenize=False)
    # Some templates write what they opened differently once it is closed (an empty block of reasoning).
    return prompt, whole[len(prompt) :] if whole.startswith(prompt) else plain[-1]["content"]


def _encoded(
    read: Sequence[str | Pair], tokenizer: PreTrainedTokenizerBase, length: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Prompt and answer of every item, in order, as tokens."""
    texts = iter(encode_prompts(tokenizer, [item for item in read if isinstance(item, str)]))
    pairs = iter(encode_pairs(tokenizer, [item for item in read if not isinstance(item, str)]))
    for item in read:
        if isinstance(item, str):
            ids = next(texts)[:length]
            middle = (len(ids) + 1) // 2
            yield ids[:middle], ids[middle:]
        else:
            pair = next(pairs)
            yield pair.prompt[:length], pair.continuation[: max(length - len(pair.prompt), 0)]
