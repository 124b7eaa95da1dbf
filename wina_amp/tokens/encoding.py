"""Prompts and continuations as token ids, the same for samples and for evaluation.

A continuation is encoded together with its prompt and cut off behind it, because many tokenizers encode a word
differently at the start of a text than in the middle. Spaces at the end of a prompt move to the continuation for the
same reason. These are the rules of lm-eval's own Hugging Face models, so that log-likelihoods can be compared with
theirs. Texts are encoded many at a time and each only once: one by one, encoding would cost more than the model.

One rule is not theirs: what a tokenizer puts behind a text (EOS, with `add_eos_token`) is left out. A prompt that ends
in EOS is over, and lm-eval, which cuts the continuation off behind it, scores one token too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from transformers import PreTrainedTokenizerBase

Ids = list[int]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[Ids]:
    """Token ids of each prompt; BOS in front where the tokenizer adds one and the text does not begin with it.

    A prompt without tokens becomes the BOS token (EOS where there is none); a tokenizer that has neither leaves it
    without, and `prepare` refuses the sample (`pipeline/tasks/refusals.py`).
    """
    unique = list(dict.fromkeys(prompts))
    known = {text: ids or _start(tokenizer) for text, ids in zip(unique, _encoded(tokenizer, unique), strict=True)}
    return [known[text] for text in prompts]


class Pair(NamedTuple):
    """A prompt and a continuation as token ids.

    Attributes:
        prompt, continuation: their ids.
        is_joined: whether the tokenizer makes one token of the continuation's beginning and the prompt's end. The
            continuation is then scored without its first letters: by lm-eval, and here.
    """

    prompt: Ids
    continuation: Ids
    is_joined: bool


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    """Token ids of each prompt and of the continuation behind it: none where the tokenizer makes one token of the
    continuation and the end of the prompt.
    """
    stripped = [prompt.rstrip() for prompt, _ in pairs]
    wholes = [prompt + continuation for prompt, continuation in pairs]
    unique = list(dict.fromkeys([*stripped, *wholes]))
    known = dict(zip(unique, _encoded(tokenizer, unique), strict=True))
    return [
        _cut(known[text], known[whole]) if prompt and known[text] else _behind_start(tokenizer, whole)
        for (prompt, _), text, whole in zip(pairs, stripped, wholes, strict=True)
    ]


def _cut(prompt: Ids, whole: Ids) -> Pair:
    return Pair(prompt, whole[len(prompt) :], is_joined=whole[: len(prompt)] != prompt)


def encode_alone(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """Token ids of each text, without anything that the tokenizer would put around it."""
    if not texts:
        return []
    options: dict[str, Any] = {"return_attention_mask": False, "add_special_tokens": False}
    return cast(list[Ids], tokenizer(list(texts), **options)["input_ids"])


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that the text of a generated answer does not show."""
    added: dict[int, Any] = tokenizer.added_tokens_decoder
    marked = (number for number, token in added.items() if token.special)
    return frozenset({*marked, *tokenizer.all_special_ids})


def _behind_start(tokenizer: PreTrainedTokenizerBase, text: str) -> Pair:
    """A text without a prompt: BOS takes its place, once."""
    start, ids = _start(tokenizer), encode_alone(tokenizer, [text])[0]
    return Pair(start, ids[1:] if start and ids[:1] == start else ids, is_joined=False)


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Ids]:
    """Token ids of each text behind what the tokenizer puts in front of one."""
    start = str(tokenizer.decode(_start(tokenizer)))
    is_begun = [bool(start) and text.lstrip().startswith(start) for text in texts]
    others = [text for text, begun in zip(texts, is_begun, strict=True) if not begun]
    front = _front(tokenizer, [_EXAMPLE, *others]) if others else []
    encoded = encode_alone(tokenizer, texts)
    return [ids if begun else front + ids for ids, begun in zip(encoded, is_begun, strict=True)]


_EXAMPLE = "1"


def _front(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Ids:
    """The special tokens that the tokenizer puts in front of a text, seen at the first that has tokens of its own."""
    for text in texts:
        plain = encode_alone(tokenizer, [text])[0]
        if plain:
            whole = cast(Ids, tokenizer(text, return_attention_mask=False)["input_ids"])
            return whole[: next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)]
    whole = cast(Ids, tokenizer("", return_attention_mask=False)["input_ids"])
    return [token for token in whole if token == tokenizer.bos_token_id]


def _start(tokenizer: PreTrainedTokenizerBase) -> Ids:
    """What takes the place of an empty prompt: BOS, or EOS, or nothing."""
    ids = cast(tuple[int | None, ...], (tokenizer.bos_token_id, tokenizer.eos_token_id))
    return [token for token in ids if token is not None][:1]
