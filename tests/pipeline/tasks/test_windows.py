"""`pipeline.tasks.windows`: no word is lost, none stands twice, and windows have the size that was asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.tasks.windows import FEWEST_WORDS, Windows

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
