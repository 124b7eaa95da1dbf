"""`pipeline.tasks.repeatable`: a document's prompt does not depend on the process nor on what else is asked."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.tasks.loading import load_tasks
from pipeline.tasks.repeatable import fixed_randomness
from pipeline.tasks.samples import sample_rows
from pipeline.tasks.task_view import Prompting, TaskView, doc_hash
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


def prompts(view: TaskView, doc_ids: list[int]) -> list[str]:
    task = view.only(doc_ids)
    task.build_all_requests()
    return list(dict.fromkeys(str(request.args[0]) for request in task.instances))


def lm_evals(view: TaskView, doc_ids: list[int]) -> list[str]:
    """The prompts of these documents when lm-eval's command line asks about all."""
    view.task.set_fewshot_seed(1234)
    view.task.build_all_requests()
    asked = {request.doc_id: str(request.args[0]) for request in view.task.instances}
    return [asked[doc_id] for doc_id in doc_ids]


@pytest.mark.tried("volatile", "right")
@pytest.mark.parametrize(
    ("split", "doc_ids"),
    [
        pytest.param("test", [3, 11], id="two documents"),
        pytest.param("test", list(range(14)), id="all documents"),
        pytest.param("train", [0, 13], id="documents of the split that examples come from"),
    ],
)
@pytest.mark.parametrize("sampler", [pytest.param("default", id="drawn for"), pytest.param("first_n", id="first for")])
def test_solved_examples_are_those_of_lm_evals_command_line_whatever_else_is_asked(
    tiny_tasks: Path, tmp_path: Path, split: str, doc_ids: list[int], sampler: str
):
    (tmp_path / "words.py").write_text((tiny_tasks / "words.py").read_text())
    text = (tiny_tasks / "shown.yaml").read_text() + f"fewshot_config: {{sampler: {sampler}}}\n"
    (tmp_path / "shown.yaml").write_text(text)
    view = load_tasks(tmp_path, ["shown"], Prompting(num_fewshot=3))["shown"][split]
    assert prompts(view, doc_ids) == lm_evals(view, doc_ids)
    assert prompts(view, doc_ids[1:]) == prompts(view, doc_ids)[1:]


_HEAD = """task: odd
custom_dataset: !function words.dataset
output_type: multiple_choice
training_split: train
test_split: test
doc_to_choice: choices
doc_to_target: target
"""


def put(tiny_tasks: Path, folder: Path, function: str, use: str) -> None:
    (folder / "words.py").write_text((tiny_tasks / "words.py").read_text())
    (folder / "odd.py").write_text(f"import itertools, random, time\nimport numpy as np\n{function}\n")
    (folder / "odd.yaml").write_text(f"{_HEAD}{use}\n")


@pytest.mark.tried("volatile", "right")
@pytest.mark.parametrize(
    "shuffle",
    [
        pytest.param("random.shuffle(choices)", id="random"),
        pytest.param("np.random.shuffle(choices)", id="numpy"),
    ],
)
def test_choices_that_are_shuffled_when_a_task_is_loaded_have_one_order(tiny_tasks: Path, tmp_path: Path, shuffle: str):
    function = (
        "from datasets import Dataset\ndef shuffled(docs):\n    rows = docs.to_list()\n    for row in rows:\n"
        f"        choices = row['choices']\n        {shuffle}\n"
        "        row['target'] = choices.index(row['answer'])\n    return Dataset.from_list(rows)"
    )
    put(tiny_tasks, tmp_path, function, "doc_to_text: prompt\nprocess_docs: !function odd.shuffled")
    views = [load_tasks(tmp_path, ["odd"])["odd"]["test"] for _ in range(2)]
    hashes = [[doc_hash(document) for document in view.documents] for view in views]
    assert hashes[0] == hashes[1]
    plain = load_tasks(tiny_tasks, ["pick"])["pick"]["test"].documents
    assert [doc["choices"] for doc in plain] != [doc["choices"] for doc in views[0].documents]
    assert list(views[0].hashes) == hashes[0]


@pytest.mark.tried("volatile", "refused")
@pytest.mark.parametrize(
    ("function", "use"),
    [
        pytest.param(
            "def text(doc):\n    return random.choice(['Q: ', 'Question: ']) + doc['prompt']",
            "doc_to_text: !function odd.text", id="wording by chance",
        ),
        pytest.param(
            "def text(doc):\n    return f\"{doc['prompt']} {time.time_ns()}\"",
            "doc_to_text: !function odd.text", id="the clock",
        ),
        pytest.param(
            "count = itertools.count()\ndef text(doc):\n    return f\"{next(count)}. {doc['prompt']}\"",
            "doc_to_text: !function odd.text", id="a running number",
        ),
        pytest.param(
            "def choices(doc):\n    return random.sample(doc['choices'], len(doc['choices']))",
            "doc_to_text: prompt\ndoc_to_choice: !function odd.choices", id="choices in an order by chance",
        ),
    ],
)  # fmt: skip
def test_a_task_that_asks_in_another_way_every_time_is_refused(
    tiny_tasks: Path, tmp_path: Path, tiny_loaded: LoadedModel, function: str, use: str
):
    put(tiny_tasks, tmp_path, function, use)
    view = load_tasks(tmp_path, ["odd"])["odd"]["test"]
    with pytest.raises(UserError, match=r"must ask about a document in the same way every time.*sample odd/test/\d+"):
        list(sample_rows(view, range(14), tiny_loaded.tokenizer, 128))


@pytest.mark.tried("volatile", "refused")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("random.Random().random()", id="a generator of its own without a seed"),
        pytest.param("time.time_ns()", id="the clock"),
    ],
)
def test_documents_that_are_made_in_another_way_every_time_are_refused(
    tiny_tasks: Path, tmp_path: Path, tiny_loaded: LoadedModel, value: str
):
    function = (
        "from datasets import Dataset\ndef made(docs):\n"
        f"    rows = [row | {{'extra': str({value})}} for row in docs.to_list()]\n"
        "    return Dataset.from_list(rows)"
    )
    put(tiny_tasks, tmp_path, function, "doc_to_text: prompt\nprocess_docs: !function odd.made")
    view = load_tasks(tmp_path, ["odd"])["odd"]["test"]
    with pytest.raises(UserError, match=r"must have the same documents in every process.*task odd/test.*seeded"):
        list(sample_rows(view, range(14), tiny_loaded.tokenizer, 128))


def test_the_global_generators_go_on_as_if_nothing_had_been_drawn():
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    with fixed_randomness():
        first = random.random(), np.random.rand()
    with fixed_randomness():
        assert (random.random(), np.random.rand()) == first
    assert (random.random(), np.random.rand()) == expected
