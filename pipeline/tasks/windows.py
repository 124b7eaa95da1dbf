"""Running text cut into windows of words: a context that is only read, and words behind it whose likelihood is scored.

Words are runs of characters without space, because a sample is text and must be the same whatever tokenizer a model
has. In scripts that put no spaces between words (Chinese, Japanese, Thai) every character counts as one, and of
anything else every `LONGEST_WORD` characters of a run do: a long text always makes windows. Tokens per word depend on
the tokenizer, so perplexities of two models are not comparable; those of two methods on one model are, since both score
the same tokens. Windows do not overlap: no word stands in two samples, so samples of the train and the test split share
no text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import category

FEWEST_WORDS = 8
"""Shorter ends of a text, and shorter texts (headings, blank rows of WikiText), give no window."""

LONGEST_WORD = 32
"""Characters, more than words have. A longer run (a link, a sequence of DNA) counts as several words."""

_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Tibetan, Burmese, Khmer, and the scripts and punctuation of Chinese and Japanese."""

_PLACES = (*range(0x0E00, 0x3100), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_MARKS = "".join(mark for mark in map(chr, _PLACES) if category(mark) in ("Mn", "Mc"))
"""Vowels, tones and variants of these scripts that belong to the character before them."""

_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][{_MARKS}]*|[^\s{_UNSPACED}]{{1,{LONGEST_WORD}}})")


@dataclass(frozen=True)
class Windows:
    """The size of a window in words: `context` words are read, then `scored` words are scored."""

    context: int = 64
    scored: int = 64

    def cut(self, text: str) -> list[tuple[str, str]]:
        """(context, scored text) of every window of `text`, in order.

        The end of a text is a window of its own, divided in the same proportion, if it has `FEWEST_WORDS` words.

        Guarantee: joined, the windows are `text` without the spaces at its start, between windows and at its end, and
        without an end that is too short. The scored text begins with the spaces in front of its first word.
        """
        words = _WORD.findall(text)
        size = self.context + self.scored
        parts = [words[start : start + size] for start in range(0, len(words), size)]
        return [self._divide(part) for part in parts if len(part) == size or len(part) >= FEWEST_WORDS]

    def _divide(self, words: list[str]) -> tuple[str, str]:
        read = max(1, len(words) * self.context // (self.context + self.scored))
        return "".join(words[:read]).lstrip(), "".join(words[read:])
