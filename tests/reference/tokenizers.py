"""Small tokenizers with known tokens: of words, of letters, and of letters of which some pairs are one token."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

BOS, EOS, W1, W2, W3 = range(5)


def words(template: str = "$A", **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of words that puts a template around every text."""
    vocabulary = {"<bos>": BOS, "<eos>": EOS, "w1": W1, "w2": W2, "w3": W3, "<unk>": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    numbers = [(text, vocabulary[text]) for text in ("<bos>", "<eos>")]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=numbers)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


def spelling(
    before: pre_tokenizers.PreTokenizer, normalizer: normalizers.Normalizer | None = None, *added: AddedToken
) -> PreTrainedTokenizerFast:
    """A tokenizer of letters with BOS in front, which treats spaces as `before` says."""
    letters = ["<unk>", "<bos>", *"abcdefghijklmnopqrstuvwxyzA:", "\u2581", "\u0120"]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(letters)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = before
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.add_tokens(list(added))
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")


def merging(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A tokenizer of letters that makes one token of some pairs."""
    letters = ["?", "a", "b", "c", " ", *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(letters)}, list(merges), unk_token="?"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="?", unk_token="?")
