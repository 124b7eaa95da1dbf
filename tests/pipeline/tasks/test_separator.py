"""`pipeline.tasks.separator`: one space between prompt and continuation, and none where the script has none."""

from __future__ import annotations

import pytest

from pipeline.tasks.separator import separator


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize(
    ("prompt", "continuation"),
    [
        pytest.param("Answer:", "Paris", id="Latin"),
        pytest.param("Ответ:", "да", id="Cyrillic"),
        pytest.param("정답:", "네", id="Korean"),
        pytest.param("الجواب:", "نعم", id="Arabic"),
        pytest.param("תשובה:", "כן", id="Hebrew"),
        pytest.param("उत्तर:", "हाँ", id="Devanagari"),
        pytest.param("Answer:", "42", id="digits"),
        pytest.param("Answer:", "😀", id="an emoji"),
        pytest.param("答案:", "Paris", id="Latin behind a colon"),
        pytest.param("수도는 漢陽", "서울", id="Korean behind Chinese characters"),
        pytest.param("e\u0301", "x", id="Latin behind a letter and its accent"),
    ],
)
def test_a_space_stands_between_words_of_scripts_that_use_it(prompt: str, continuation: str):
    assert separator(prompt, continuation) == " "


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize(
    ("prompt", "continuation"),
    [
        pytest.param("Answer: ", "Paris", id="a space at the prompt's end"),
        pytest.param("Answer:\n", "Paris", id="a line break at the prompt's end"),
        pytest.param("Answer:\t", "Paris", id="a tabulator at the prompt's end"),
        pytest.param("Answer:\u00a0", "Paris", id="a no-break space at the prompt's end"),
        pytest.param("Answer:", " Paris", id="a space of the choice's own"),
        pytest.param("答案：\u3000", "是", id="an ideographic space"),
        pytest.param("答案：", "是", id="Chinese"),
        pytest.param("Answer:", "是", id="a Chinese choice"),
        pytest.param("答案：", "A", id="a full-width colon"),
        pytest.param("答案:", "42", id="digits in Chinese"),
        pytest.param("答案是", "Paris", id="Latin behind Chinese"),
        pytest.param("答え:", "はい", id="Hiragana"),
        pytest.param("答え:", "ﾊｲ", id="half-width Katakana"),
        pytest.param("答え:", "「はい」", id="a Japanese quotation"),
        pytest.param("Answer:", "Ａ", id="a full-width letter"),
        pytest.param("คำตอบ:", "ใช่", id="Thai"),
        pytest.param("ຄຳຕອບ:", "ແມ່ນ", id="Lao"),
        pytest.param("ចម្លើយ:", "បាទ", id="Khmer"),
        pytest.param("အဖြေ:", "ဟုတ်", id="Burmese"),
        pytest.param("か\u3099", "Paris", id="Latin behind Japanese and its mark"),
        pytest.param("葛\U000e0100", "Paris", id="Latin behind a variant of a Chinese character"),
        pytest.param("首都：", "서울", id="Korean behind a full-width colon"),
        pytest.param("", "Paris", id="an empty prompt"),
    ],
)
def test_none_stands_where_one_side_brings_it_or_the_script_has_none(prompt: str, continuation: str):
    assert separator(prompt, continuation) == ""
