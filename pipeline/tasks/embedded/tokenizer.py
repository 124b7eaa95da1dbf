"""The reference model's tokenizer: one token per word of a closed vocabulary, one per digit.

A word carries the space before it as a mark (`▁bear`), digits stand alone, so that `decode(encode(text)) == text` and
numbers are read digit by digit. Unknown words become `<unk>`: nothing outside the benchmark was in the training data.
"""

from __future__ import annotations

from typing import cast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.tasks.embedded import templates, world

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPACE = "▁"


def build(context: int) -> PreTrainedTokenizerFast:
    """The tokenizer; `context` is recorded as its maximum length in tokens."""
    content = tuple(dict.fromkeys((*world.words(), *templates.words())))
    tokens = (PAD, BOS, EOS, UNKNOWN, SPACE, *world.DIGITS, *(SPACE + word for word in content))
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokens.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The number of one token of the vocabulary."""
    return cast(int, tokenizer.convert_tokens_to_ids(token))
