"""Prompts and continuations as token ids, the same for samples and for evaluation.

A continuation is encoded together with its prompt and cut off behind it, because many tokenizers encode a word
differently at the start of a text than in the middle. Spaces at the end of a prompt move to the continuation for the
same reason. These are the rules of lm-eval's own Hugging Face models, so that log-likelihoods can be compared with
theirs. Texts are encoded many at a time and each only once: one by one, encoding would cost more than the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

Ids = list[int]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[Ids]:
    """Token ids of each prompt; BOS in front where the tokenizer adds one and the text does not begin with it."""
    unique = list(dict.fromkeys(prompts))
    start = str(tokenizer.decode([_prefix_id(tokenizer)]))
    with_bos = [text for text in unique if start and text.startswith(start)]
    plain = [text for text in unique if not (start and text.startswith(start))]
    known = dict(zip(plain, _encoded(tokenizer, plain), strict=True))
    known |= zip(with_bos, _encoded(tokenizer, with_bos, add_special_tokens=False), strict=True)
    return [known[text] for text in prompts]


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[tuple[Ids, Ids]]:
    """Token ids of each prompt and of the continuation behind it.

    An empty prompt becomes the BOS token (EOS where there is none).
    """
    prompts = [prompt.rstrip() for prompt, _ in pairs]
    wholes = [prompt + continuation for prompt, continuation in pairs]
    encoded = encode_prompts(tokenizer, [*prompts, *wholes])
    ids_of_pairs = [
        (prompt, whole[len(prompt) :])
        for prompt, whole in zip(encoded[: len(pairs)], encoded[len(pairs) :], strict=True)
    ]
    empty = [number for number, (prompt, _) in enumerate(pairs) if prompt == ""]
    start = _prefix_id(tokenizer)
    alone = _encoded(tokenizer, [pairs[number][1] for number in empty], add_special_tokens=False)
    for number, ids in zip(empty, alone, strict=True):
        ids_of_pairs[number] = ([start], ids[1:] if ids[:1] == [start] else ids)
    return ids_of_pairs


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], **options: Any) -> list[Ids]:
    if not texts:
        return []
    return cast(list[Ids], tokenizer(list(texts), return_attention_mask=False, **options)["input_ids"])


def _prefix_id(tokenizer: PreTrainedTokenizerBase) -> int:
    bos = cast(int | None, tokenizer.bos_token_id)
    return bos if bos is not None else cast(int, tokenizer.eos_token_id)
