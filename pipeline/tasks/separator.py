"""The separator between a prompt and what follows it, for files of texts that name none.

A space, unless one side brings its own or the script is written without spaces between words. Tasks of lm-eval say
theirs (`target_delimiter`).
"""

from __future__ import annotations

from itertools import chain
from unicodedata import category, east_asian_width, name

_WITHOUT_SPACES = (
    "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "YI SYLLABLE",
    "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "BALINESE", "JAVANESE", "TAI", "NEW TAI",
)  # fmt: skip
"""Beginnings of the Unicode names of characters of scripts without spaces between words. (Korean and Arabic have them.)
"""


def separator(prompt: str, continuation: str) -> str:
    """A space or nothing.

    Letters decide: the nearest one of the continuation, or of the prompt where the continuation has none (digits,
    emoji). Characters right at the border decide before them: white space, a full-width colon or a Chinese character in
    front of `Paris` already stand apart (but not one in front of Korean, which mixes them with its own). Marks belong
    to the character before them.
    """
    if not prompt or not continuation:
        return ""
    before, behind = next(filter(_is_no_mark, reversed(prompt)), ""), continuation[0]
    letter = next(filter(_is_letter, chain(continuation, reversed(prompt))), "")
    if before.isspace() or behind.isspace():
        return ""
    if _is_letter(before) and name(behind, "").startswith("HANGUL"):
        return " "
    return "" if any(map(_needs_no_space, (before, behind, letter))) else " "


def _is_no_mark(character: str) -> bool:
    return not category(character).startswith("M")


def _is_letter(character: str) -> bool:
    return category(character).startswith("L")


def _needs_no_space(character: str) -> bool:
    if not character:
        return False
    width = east_asian_width(character)
    is_wide_punctuation = width == "W" and category(character).startswith("P")
    return width == "F" or is_wide_punctuation or name(character, "").startswith(_WITHOUT_SPACES)
