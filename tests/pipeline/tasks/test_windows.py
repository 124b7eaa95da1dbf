"""`pipeline.tasks.windows`: no word is lost, none stands twice, and windows have the size that was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tasks.windows import FEWEST_WORDS, LONGEST_WORD, Windows

TEXTS = st.lists(
    st.tuples(st.text("abcé.", min_size=1, max_size=5), st.sampled_from([" ", "  ", "\n", "\n\n ", "\t"])), max_size=120
).map(lambda parts: "".join(word + space for word, space in parts))


@given(TEXTS, st.integers(1, 20), st.integers(1, 20))
def test_windows_hold_every_word_once_and_in_order(text: str, context: int, scored: int):
    size = context + scored
    words = text.split()
    rest = len(words) % size
    kept = words if rest >= FEWEST_WORDS or rest == 0 else words[:-rest]
    windows = Windows(context, scored).cut(text)
    assert [word for pair in windows for part in pair for word in part.split()] == kept
    for read, behind in windows[: len(words) // size]:
        assert (len(read.split()), len(behind.split())) == (context, scored)
    for read, behind in windows:
        assert read.split() and behind.split() and read + behind in text
        assert read[0].strip() and behind[0].isspace() and not behind[-1].isspace()


def test_the_end_of_a_text_is_divided_in_the_same_proportion():
    words = [f"w{number}" for number in range(30)]
    windows = Windows(context=5, scored=15).cut(" ".join(words))
    assert [(len(read.split()), len(behind.split())) for read, behind in windows] == [(5, 15), (2, 8)]


def test_headings_and_blank_texts_give_no_window():
    assert Windows().cut(" = Robert Boulter = \n") == [] == Windows().cut(" \n")


@pytest.mark.tried("texts", "right")
@pytest.mark.parametrize(
    ("text", "context", "scored"),
    [
        pytest.param("今天天气很好，我们去公园散步吧。", "今天天气很", "好，我们去公园散步吧", id="Chinese"),
        pytest.param("日本語のテキストには空白がない。", "日本語のテ", "キストには空白がない", id="Japanese"),
        pytest.param("ยินดีต้อนรับสู่ประเทศไทยครับ", "ยินดีต้อ", "นรับสู่ประเทศ", id="Thai, with vowels above"),
        pytest.param("か\u3099" * 15, "か\u3099" * 5, "か\u3099" * 10, id="Japanese, with marks of their own"),
        pytest.param(
            "葛\U000e0100" * 15, "葛\U000e0100" * 5, "葛\U000e0100" * 10, id="variants of a Chinese character"
        ),
        pytest.param("Am 今天 very 好, 我们去公园散步吧。", "Am 今天 very 好", ", 我们去公园散步吧。", id="mixed"),
        pytest.param("한국 " + "띄어 한국 " * 8, "한국" + " 띄어 한국" * 2, " 띄어 한국" * 5, id="Korean, with spaces"),
        pytest.param("x" * 15 * LONGEST_WORD, "x" * 5 * LONGEST_WORD, "x" * 10 * LONGEST_WORD, id="one long line"),
        pytest.param(f"a b {'x' * 320} c d e", f"a b {'x' * 96}", f"{'x' * 224} c d e", id="a long run among words"),
    ],
)
def test_a_text_without_spaces_makes_windows(text: str, context: str, scored: str):
    first, *others = Windows(context=5, scored=10).cut(text)
    assert first == (context, scored)
    assert text.startswith("".join(first + tuple("".join(pair) for pair in others)))
