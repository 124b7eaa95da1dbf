"""Computation, template and length are crossed, and no word gives the computation away."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from pipeline.tasks.embedded import templates
from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.documents import SHOTS, Document, documents
from wina_amp.errors import UserError

CELLS = len(templates.TEMPLATES) * len(SHOTS)


def stream(computation: str, count: int, split: str = "test") -> list[Document]:
    return list(itertools.islice(documents(computation, split, LEVELS, 0), count))


@pytest.mark.parametrize("computation", ["addition", "facts"])
def test_every_sixteen_documents_hold_every_template_at_every_length_once(computation: str) -> None:
    cells = Counter((document.template, len(document.examples)) for document in stream(computation, 2 * CELLS))
    assert set(cells.values()) == {2} and len(cells) == CELLS


def test_every_cue_word_goes_with_every_computation_equally_often() -> None:
    """So the mutual information between a cue word and the computation is exactly zero."""
    for position in (0, 1):
        counts = Counter(
            (computation, templates.cue(computation, template)[position])
            for computation in COMPUTATIONS
            for template in templates.TEMPLATES
        )
        assert set(counts.values()) == {1} and len(counts) == 4 * len(COMPUTATIONS)


def test_within_a_template_the_pair_of_cues_names_the_computation() -> None:
    for template in templates.TEMPLATES:
        assert len({templates.cue(computation, template) for computation in COMPUTATIONS}) == len(COMPUTATIONS)


def test_frame_words_say_nothing_of_the_computation() -> None:
    """Frame words appear in every document of a template, whatever the computation."""
    for template in templates.TEMPLATES:
        expected = {word for word in templates.FRAMES[template].split() if not word.startswith("{")}
        for computation in COMPUTATIONS:
            assert expected <= set(templates.word(computation, template, "x").split())


def test_most_of_the_text_is_written_in_words_that_several_computations_use() -> None:
    """At least 85% of all words in prompts are words that two or more computations use (measured: 88%)."""
    used: dict[str, Counter[str]] = {}
    for computation in COMPUTATIONS:
        for document in stream(computation, 64):
            for word in document.prompt.split():
                used.setdefault("0" if word.isdigit() else word, Counter())[computation] += 1
    total = sum(sum(counter.values()) for counter in used.values())
    shared = sum(sum(counter.values()) for counter in used.values() if len(counter) >= 2)
    assert shared / total > 0.85


def test_groups_of_computations_cannot_be_told_apart_by_any_word_of_their_bodies() -> None:
    """Reversal, sorting and translation read lists of the same nouns: per noun, frequencies agree within noise."""
    counts = {
        computation: Counter(word for doc in stream(computation, 400) for word in doc.question.body.split())
        for computation in ("reversal", "sorting", "translation")
    }
    for first, second in itertools.combinations(counts.values(), 2):
        assert set(first) == set(second)
        scale = sum(second.values()) / sum(first.values())
        for word in first:
            expected = first[word] * scale
            assert abs(second[word] - expected) < 5 * math.sqrt(expected + second[word]), word


def test_streams_repeat_from_their_seed_and_ask_no_question_twice() -> None:
    first, again = stream("facts", 48), stream("facts", 48)
    assert [document.fields() for document in first] == [document.fields() for document in again]
    questions = [document.question.key for document in stream("addition", 200)]
    assert len(set(questions)) == len(questions)


def test_a_prompt_ends_where_its_answer_begins_and_holds_its_solved_examples() -> None:
    for document in stream("addition", CELLS):
        assert document.prompt.count(templates.END) == len(document.examples)
        assert all(f"{example.answer} {templates.END}" in document.prompt for example in document.examples)
        assert document.choices[document.fields()["target"]] == document.question.answer


def test_asking_for_more_documents_than_there_are_questions_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"no new question after .* documents.*addition.*level"):
        list(itertools.islice(documents("addition", "test", (1,), 0), 5000))
