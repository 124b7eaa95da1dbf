"""The ends of a generated answer: everything at which transformers or lm-eval would stop.

- the ids of the model's `generation_config.eos_token_id`, one or several, and the texts of its
  `stop_strings`, as in transformers' `generate()`;
- the tokenizer's EOS, which lm-eval adds to the task's stop texts, and which may be another one;
- the task's stop texts, also where they are special tokens (`<|im_end|>`), which the answer's text does not show;
- in a chat, the token that ends a turn in the tokenizer's template, whatever the checkpoint's files say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from wina_amp.models.load import LoadedModel
from wina_amp.tokens.encoding import special_tokens

_NEUTRAL: dict[str, object] = {
    "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0, "bad_words_ids": None,
    "sequence_bias": None, "suppress_tokens": None, "begin_suppress_tokens": None, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "exponential_decay_length_penalty": None, "num_beams": 1, "guidance_scale": 1.0,
    "encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0, "watermarking_config": None,
    "max_new_tokens": None, "max_time": None,
}  # fmt: skip
"""Settings of transformers that change greedy decoding or its length -> the value that changes nothing."""


@dataclass(frozen=True)
class Ends:
    """What ends an answer besides its length.

    Attributes:
        tokenizer: decodes the answer.
        ids: tokens that end it.
        special: tokens that its text does not show.
        texts: texts of EOS and of the end of a turn, which end it also where ordinary tokens spell them, and those of
            the model's own `stop_strings`.
    """

    tokenizer: PreTrainedTokenizerBase
    ids: frozenset[int]
    special: frozenset[int]
    texts: tuple[str, ...]

    def answer(self, tokens: Sequence[int], stops: Iterable[str]) -> tuple[str, bool]:
        """The text of the tokens generated so far, and whether it has come to an end.

        The text is without special tokens and cut before the stop texts, one after the other, as lm-eval cuts it.
        """
        stops = (*stops, *self.texts)
        tokens = list(tokens)
        shown = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        hides = not self.special.isdisjoint(tokens)
        whole = str(self.tokenizer.decode(list(tokens), skip_special_tokens=False)) if hides else shown
        text = shown
        for stop in stops:
            text = text.split(stop, 1)[0]
        return text, text != shown or tokens[-1] in self.ids or any(stop in whole for stop in stops)


def not_applied(loaded: LoadedModel) -> dict[str, object]:
    """What the checkpoint's `generation_config.json` asks for that changes greedy decoding (lm-eval's, too) and is not
    applied here: a repetition penalty, for example. Setting -> value."""
    asked: Any = loaded.model.generation_config
    values = {name: getattr(asked, name, None) for name in _NEUTRAL}
    return {name: value for name, value in values.items() if value is not None and value != _NEUTRAL[name]}


def ends_of(loaded: LoadedModel, turn_end: int | None = None) -> Ends:
    """The ends of a model's answers; in a chat `turn_end` is the token that ends a turn."""
    tokenizer: Any = loaded.tokenizer
    configured: Any = loaded.model.generation_config
    ids = configured.eos_token_id if isinstance(configured.eos_token_id, list) else [configured.eos_token_id]
    known = [end for end in (tokenizer.eos_token_id, turn_end) if end is not None]
    texts = [str(tokenizer.decode([end], skip_special_tokens=False)) for end in known]
    stops = [configured.stop_strings] if isinstance(configured.stop_strings, str) else configured.stop_strings or ()
    return Ends(
        loaded.tokenizer,
        frozenset(int(end) for end in (*ids, *known) if end is not None),
        special_tokens(loaded.tokenizer),
        tuple(text for text in (*texts, *stops) if text),
    )
