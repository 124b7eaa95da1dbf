"""Tasks of published files ask and score as lm-eval's own tasks do on the hub's rows, which are written out here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import datasets
import pytest
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from pytest import MonkeyPatch

from commands import tasks as stage
from pipeline.tasks.loading import load_tasks
from wina_amp.errors import UserError

LM_EVAL = stage.tasks_folder()

ARC = [
    {"stem": "Which warms hands?", "choices": [("dry palms", "A"), ("wet palms", "B"), ("oil", "C")], "right": "A"},
    {"stem": "What is 2?", "choices": [("one", "1"), ("two", "2")], "right": "2"},
]
GSM8K = [
    {"question": f"How many are {n} and {n}?", "answer": f"{n} + {n} = <<{n}+{n}={2 * n}>>{2 * n}.\n#### {2 * n:,}"}
    for n in range(600, 608)
]
HELLASWAG = [
    {"ind": 1, "activity_label": "Roof repair", "ctx_a": "A man is on a roof.", "ctx_b": "he", "label": 1,
     "ctx": "A man is on a roof. he", "endings": ["sings.", "starts [step] pulling up  tiles.", "falls.", "eats."]},
    {"ind": 2, "activity_label": "Computers", "ctx_a": "[header] How to type [title] Sit.", "ctx_b": "", "label": 3,
     "ctx": "[header] How to type [title] Sit.", "endings": ["No.", "Yes.", "Why.", "Use [title] keys."]},
]  # fmt: skip
WINOGRANDE = [
    {"qID": "1", "sentence": "Sarah was better than Maria so _ got easy cases.", "option1": "Sarah",
     "option2": "Maria", "answer": "2"},
    {"qID": "2", "sentence": "The trophy is not in the case, as _ is too big.", "option1": "the trophy",
     "option2": "the case", "answer": "1"},
]  # fmt: skip
PIQA = [{"goal": "Boil eggs", "sol1": "Use water.", "sol2": "Use sand."}, {"goal": "Sit", "sol1": "Up.", "sol2": "On."}]
BOOLQ = [{"question": "is it", "passage": "It is.", "idx": 0, "label": True}]

ROWS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "piqa": {"validation": [row | {"label": label} for row, label in zip(PIQA, (0, 1), strict=True)]},
    "hellaswag": {"validation": [row | {"label": str(row["label"])} for row in HELLASWAG]},
    "arc_easy": {
        "test": [
            {"question": row["stem"], "answerKey": row["right"],
             "choices": {"text": [text for text, _ in row["choices"]], "label": [mark for _, mark in row["choices"]]}}
            for row in ARC
        ]
    },
    "winogrande": {"validation": WINOGRANDE},
    "gsm8k": {"train": GSM8K[2:], "test": GSM8K[:2]},
    "lambada_openai": {"test": [{"text": "I do not care about signs"}, {"text": "\"No need,\" said Shane"}]},
    "boolq": {"validation": [{"question": "is it", "passage": "It is.", "label": 1}]},
}  # fmt: skip
"""What the hub's data sets hold."""


def _lines(file: Path, rows: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _publish(folder: Path) -> Path:
    """The same rows as their authors publish them."""
    _lines(folder / "piqa/valid.jsonl", PIQA)
    (folder / "piqa/valid-labels.lst").write_text("0\n1\n")
    _lines(folder / "hellaswag/hellaswag_val.jsonl", HELLASWAG)
    asked = [
        {"id": "x", "answerKey": row["right"],
         "question": {"stem": row["stem"], "choices": [{"text": t, "label": mark} for t, mark in row["choices"]]}}
        for row in ARC
    ]  # fmt: skip
    _lines(folder / "ARC-V1-Feb2018/ARC-Easy/ARC-Easy-Test.jsonl", asked)
    _lines(folder / "winogrande_1.1/dev.jsonl", WINOGRANDE)
    _lines(folder / "gsm8k/train.jsonl", GSM8K[2:])
    _lines(folder / "gsm8k/test.jsonl", GSM8K[:2])
    _lines(folder / "lambada/lambada_test.jsonl", ROWS["lambada_openai"]["test"])
    _lines(folder / "BoolQ/val.jsonl", BOOLQ)
    return folder


def _mmlu(folder: Path, subjects: list[str]) -> None:
    for subject in subjects:
        for split in ("dev", "test"):
            file = folder / "mmlu" / split / f"{subject}_{split}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'"Which, of {subject}?",a,b,"c, d",e,C\n"Two\nlines?",1,2,3,4,A\n')


SUBJECTS = sorted(path.stem.removeprefix("mmlu_") for path in (LM_EVAL / stage.MMLU).glob("mmlu_*.yaml"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tasks."""
    source = _publish(tmp_path_factory.mktemp("published"))
    _mmlu(source, SUBJECTS)
    folder = tmp_path_factory.mktemp("made") / "tasks"
    stage.main(source, folder)
    return folder


def _theirs(yaml: Path, rows: Mapping[str, list[Any]], monkeypatch: MonkeyPatch) -> ConfigurableTask:
    """lm-eval's own task, which asks the hub for its data set and is given these rows."""
    config = load_yaml(yaml)
    config |= {key: None for key in stage.SPLITS if config.get(key) not in rows}
    hub = datasets.DatasetDict({split: datasets.Dataset.from_list(part) for split, part in rows.items()})
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load_dataset", lambda *_arguments, **_options: hub)
        return ConfigurableTask(config=config)


def _asked_and_scored(task: Any, responses: list[list[Any]]) -> tuple[list[Any], list[Any]]:
    """The requests of all documents, and their scores where every document is answered by one of the lists."""
    task.set_fewshot_seed(1234)
    task.build_all_requests(rank=0, world_size=1)
    scores: list[Any] = []
    for answers in responses:
        for instance in task.instances:
            instance.resps = [answers[instance.idx]]
        task.apply_filters()
        for name in cast(dict[str, Any], task.instances[0].filtered_resps):
            for number in sorted({instance.doc_id for instance in task.instances}):
                of_document = [instance for instance in task.instances if instance.doc_id == number]
                filtered = [instance.filtered_resps[name] for instance in of_document]
                scores.append((name, task.process_results(of_document[0].doc, filtered)))
    return [(instance.request_type, instance.args) for instance in task.instances], scores


CHOSEN = [[(-float(abs(best - number)), best == number) for number in range(4)] for best in range(4)]
"""Likelihoods with each of four choices the likeliest."""
WRITTEN = [
    ["600 + 600 = 1200.\n#### 1,200"],
    ["#### $1200"],
    ["It is 1202."],
    ["601 + 601 = 1,202\n#### 1202. Or 3"],
    ["none"],
]


@pytest.mark.parametrize("name", ROWS)
def test_a_task_has_lm_evals_own_requests_and_scores(name: str, written: Path, monkeypatch: MonkeyPatch):
    ours = TaskManager(include_path=str(written), include_defaults=False).load([name])["tasks"][name]
    theirs = _theirs(LM_EVAL / stage.YAMLS[name], ROWS[name], monkeypatch)
    responses = WRITTEN if name == "gsm8k" else CHOSEN
    asked, scores = _asked_and_scored(ours, responses)
    assert (asked, scores) == _asked_and_scored(theirs, responses)
    assert len(asked) >= len(ROWS[name][next(iter(ROWS[name]))][:2]) and len({str(score) for _, score in scores}) > 1


def test_winogrande_scores_the_rest_of_the_sentence_behind_each_option(written: Path):
    views = load_tasks(written, ["winogrande"])
    task = views["winogrande"]["test"].task
    task.build_all_requests(rank=0, world_size=1)
    assert [instance.args for instance in task.instances[:2]] == [
        ("Sarah was better than Maria so Sarah", " got easy cases."),
        ("Sarah was better than Maria so Maria", " got easy cases."),
    ]


def test_mmlu_has_57_subjects_in_lm_evals_groups(written: Path, monkeypatch: MonkeyPatch):
    manager = TaskManager(include_path=str(written), include_defaults=False)
    assert len(SUBJECTS) == 57
    assert [name for name in manager.all_subtasks if name.startswith("mmlu_")] == [f"mmlu_{name}" for name in SUBJECTS]
    assert {"mmlu", "mmlu_stem", "mmlu_humanities", "mmlu_other", "mmlu_social_sciences"} == set(manager.all_groups)
    ours = manager.load(["mmlu_anatomy"])["tasks"]["mmlu_anatomy"]
    two = [("Which, of anatomy?", ["a", "b", "c, d", "e"], 2), ("Two\nlines?", ["1", "2", "3", "4"], 0)]
    rows = [{"question": asked, "choices": choices, "answer": right} for asked, choices, right in two]
    theirs = _theirs(LM_EVAL / stage.MMLU / "mmlu_anatomy.yaml", {"test": rows, "dev": rows}, monkeypatch)
    assert _asked_and_scored(ours, CHOSEN) == _asked_and_scored(theirs, CHOSEN)


def test_nothing_in_the_yamls_names_this_machine(written: Path):
    for file in written.glob("*.yaml"):
        assert str(LM_EVAL) not in file.read_text()


@pytest.mark.tried("texts", "refused")
def test_some_subjects_of_mmlu_are_refused_and_the_others_named(tmp_path: Path):
    _mmlu(tmp_path, SUBJECTS[2:])
    with pytest.raises(UserError, match=r"files of its 57 subjects.*none of abstract_algebra, anatomy\."):
        stage.subjects(tmp_path)


@pytest.mark.tried("texts", "refused")
def test_a_task_without_its_solved_examples_is_refused(tmp_path: Path):
    _lines(tmp_path / "gsm8k/test.jsonl", GSM8K)
    with pytest.raises(UserError, match=r"gsm8k needs the split train for solved examples"):
        stage.main(tmp_path, tmp_path / "tasks")


@pytest.mark.tried("texts", "refused")
def test_a_folder_without_benchmarks_is_refused_and_nothing_written(tmp_path: Path):
    with pytest.raises(UserError, match=r"must hold files of a benchmark.*piqa, hellaswag"):
        stage.main(tmp_path, tmp_path / "tasks")
    assert not (tmp_path / "tasks").exists()


@pytest.mark.tried("texts", "refused")
def test_a_folder_with_something_in_it_is_not_written_into(tmp_path: Path):
    with pytest.raises(UserError, match="new or empty"):
        stage.main(_publish(tmp_path / "here"), tmp_path)
