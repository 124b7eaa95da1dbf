"""No item stands in two splits, whatever it is generated with."""

from __future__ import annotations

import itertools
import random

import pytest

from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.documents import documents
from pipeline.tasks.embedded.splits import BUCKETS, MODEL_TRAINING, TEST, TRAIN, draw, split_of


def items(computation: str, split: str, seed: int, count: int = 100) -> set[str]:
    """The keys of all items, solved examples included, in the first documents of a stream."""
    stream = itertools.islice(documents(computation, split, LEVELS, seed), count)
    return {problem.key for document in stream for problem in (*document.examples, document.question)}


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_splits_share_no_item_even_across_seeds(computation: str) -> None:
    sets = {split: items(computation, split, seed) for seed, split in enumerate(BUCKETS)}
    for first, second in itertools.combinations(sets, 2):
        assert sets[first] & sets[second] == set(), (computation, first, second)


def test_an_items_split_depends_on_its_content_not_on_its_wording() -> None:
    rng = random.Random(0)
    for split in BUCKETS:
        problem = draw(COMPUTATIONS["sorting"], rng, 2, split)
        assert split_of(problem) == split
        assert "template" not in problem.key and problem.body in problem.key


def test_the_fractions_cover_every_bucket_once() -> None:
    assert sorted(bucket for buckets in BUCKETS.values() for bucket in buckets) == list(range(100))
    assert len(BUCKETS[MODEL_TRAINING]) > len(BUCKETS[TRAIN]) == len(BUCKETS[TEST])


def test_the_reference_models_training_batches_contain_no_train_or_test_item() -> None:
    """Looks at what the training loop is really fed, not at the function that should feed it."""
    from pipeline.reference_model.batches import batches
    from pipeline.reference_model.recipe import Phase, Recipe
    from pipeline.tasks.embedded.templates import END
    from pipeline.tasks.embedded.tokenizer import build

    recipe, phase = Recipe(0, 4096, 0.1, 0.1, 0.0, 1000), Phase(10**6, (1.0, 0.1), 0.1, {}, {})
    tokenizer = build(256)
    rows = [row for batch in itertools.islice(batches(tokenizer, recipe, [phase]), 8) for row in batch.ids.tolist()]
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    seen = {" ".join(part.split()) for text in texts for part in text.split(END)}
    held_out = [
        f"{text} {answer}"
        for computation in COMPUTATIONS
        for split in (TRAIN, TEST)
        for document in itertools.islice(documents(computation, split, LEVELS, 0), 100)
        for text, answer in document.segments
    ]
    assert len(seen) > 500 and len(held_out) > 2000
    assert not seen & {" ".join(text.split()) for text in held_out}
