"""`pipeline.tasks.rehearsal`: scoring that would fail after an evaluation fails when samples are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tasks.loading import load_tasks
from pipeline.tasks.rehearsal import check_scoring, requests_of
from pipeline.tasks.task_view import arguments
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


@pytest.mark.parametrize("task", ["pick", "shown", "write"])
def test_tasks_that_score_are_taken(tiny_tasks: Path, tiny_loaded: LoadedModel, task: str):
    view = load_tasks(tiny_tasks, [task])[task]["test"]
    check_scoring(view, 3, " w1", tiny_loaded.tokenizer)
    (requests,) = requests_of(view, [3], tiny_loaded.tokenizer)
    assert {request.doc["prompt"] for request in requests} == {view.documents[3]["prompt"]}
    assert str(arguments(requests[0])[0]).endswith(view.documents[3]["prompt"])


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("function", "use", "message"),
    [
        pytest.param(
            "def scores(doc, results):\n    return {'exact_match': results[0][7]}",
            "process_results: !function odd.scores", r"score a response\. Found: IndexError", id="scoring that fails",
        ),
        pytest.param(
            "def scores(doc, results):\n    return {'f1': 0.5}",
            "process_results: !function odd.scores", r"give every response the score `exact_match`\. Found: f1",
            id="scoring without the score",
        ),
        pytest.param(
            "", "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]",
            r"give numbers as the score `acc`\. Found: \[", id="a metric of choices on generated text",
        ),
    ],
)  # fmt: skip
def test_scoring_that_would_fail_after_the_evaluation_is_refused(
    tiny_tasks: Path, tmp_path: Path, tiny_loaded: LoadedModel, function: str, use: str, message: str
):
    (tmp_path / "words.py").write_text((tiny_tasks / "words.py").read_text())
    (tmp_path / "odd.py").write_text(function)
    (tmp_path / "write.yaml").write_text((tiny_tasks / "write.yaml").read_text() + use)
    view = load_tasks(tmp_path, ["write"])["write"]["test"]
    with pytest.raises(UserError, match=rf"A task must {message}.*task write/test"):
        check_scoring(view, 0, " w1", tiny_loaded.tokenizer)
