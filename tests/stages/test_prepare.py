"""prepare: samples for the purpose that settings give each task, and a count of what was left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.config import params
from pipeline.storage.schemas import SAMPLE_COUNTS, SAMPLES
from stages import manifest, prepare
from stages.inputs import paths
from tests.settings import full as full_settings
from wina_amp.errors import UserError


@pytest.fixture
def settings(tiny_llama: Path, tiny_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Settings:
    """Settings for the tiny model, its tasks and a local file of text; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tasks"
    folder.mkdir()
    for path in filter(Path.is_file, tiny_tasks.iterdir()):  # Python adds a folder when it reads the tasks
        (folder / path.name).write_text(path.read_text())
    (folder / "book.txt").write_text(" ".join(f"w{number % 60}" for number in range(400)))
    full = full_settings()
    settings = replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        benchmark=replace(
            full.benchmark,
            include=str(folder),
            tasks=("pick", "write"),
            train_samples=3,
            test_samples=5,
            text_context=10,
            text_scored=10,
        ),
    )
    manifest.main(settings)
    return settings


def _with(settings: params.Settings, **changes: object) -> params.Settings:
    return replace(settings, benchmark=replace(settings.benchmark, **changes))


def _taken() -> dict[tuple[str, str], int]:
    samples = SAMPLES.read(paths.SAMPLES)
    counts = SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS)
    sizes = samples.groupby(["task", "split"]).size().to_dict()
    assert counts.set_index(["task", "split"])["taken"].to_dict() == sizes
    return sizes


def test_a_limit_is_for_the_held_out_items_of_its_task(settings: params.Settings):
    prepare.main(_with(settings, limits={"pick": 2}))
    limited = _taken()
    prepare.main(_with(settings, limits={"pick": 100}))
    assert limited == _taken() | {("pick", "test"): 2}


def test_every_task_calibrates_unless_tasks_are_named_for_it(settings: params.Settings):
    prepare.main(settings)
    assert _taken() == {("pick", "train"): 3, ("pick", "test"): 5, ("write", "train"): 3, ("write", "test"): 5}


def test_train_samples_come_from_the_calibration_tasks_alone(settings: params.Settings):
    prepare.main(_with(settings, calibration=("book", "write")))
    assert _taken() == {("book", "train"): 3, ("pick", "test"): 5, ("write", "train"): 3, ("write", "test"): 5}
    samples = SAMPLES.read(paths.SAMPLES)
    assert set(samples["kind"][samples["task"] == "book"]) == {"text"}


def test_long_items_stop_or_are_left_out_and_counted(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(prepare, "load_context", lambda *_args, **_kwargs: 13)
    with pytest.raises(UserError, match=r"context of 13 tokens.*set `benchmark\.too_long: leave_out`"):
        prepare.main(settings)
    prepare.main(_with(settings, too_long="leave_out", tasks=("pick",)))
    counts = SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS)
    assert (counts["too_long"] > 0).all() and (counts["taken"] > 0).all()
    assert "longer than the model's context" in caplog.text
    samples = SAMPLES.read(paths.SAMPLES)
    assert (samples["n_tokens"] + samples["answer_ids"].map(len) <= 13).all()


def test_solved_examples_and_chat_reach_the_prompts(settings: params.Settings):
    prepare.main(_with(settings, tasks=("single",), num_fewshot=2))
    assert SAMPLES.read(paths.SAMPLES)["prompt"].str.count("\n\n").eq(2).all()
    with pytest.raises(UserError, match="needs a tokenizer with a chat template"):
        prepare.main(_with(settings, chat_template=True))


def _ask(settings: params.Settings, *rows: dict[str, object]) -> params.Settings:
    """Settings with one task, a local file of these rows."""
    folder = Path(settings.benchmark.include)
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _with(settings, tasks=("own",))


CHOICE = {"prompt": "w1 w2", "choices": ["w3", "w4"], "target": 0}
GENERATION = {"prompt": "w1 w2", "answer": "w3 w4", "max_tokens": 3, "stop": ["\n"]}


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"stop": ["3"]}, r"not contain a text that ends it.*'3' in 'w3 w4'", id="a stop within"),
        pytest.param({"max_tokens": 1}, r"at most the 1 tokens.*2 tokens in 'w3 w4'", id="too few tokens"),
        pytest.param({"answer": "w3 cat"}, r"can write.*does not know in 'w3 cat'", id="an unknown word"),
        pytest.param({"answer": "w3 <eos>"}, r"'<eos>' in 'w3 <eos>'", id="EOS in the answer"),
        pytest.param({"answer": "w3 <pad>"}, r"special tokens.*'w3 <pad>'", id="a special token in the answer"),
    ],
)  # fmt: skip
def test_an_answer_that_can_never_be_right_is_refused(settings: params.Settings, change: dict[str, object], message):
    with pytest.raises(UserError, match=message + r".*sample own/\w+/\d\."):
        prepare.main(_ask(settings, GENERATION, GENERATION | {"prompt": "w2"} | change))
    prepare.main(_ask(settings, GENERATION, GENERATION | {"prompt": "w2"}))


@pytest.mark.tried("tokens", "refused")
@pytest.mark.parametrize(
    ("choices", "message"),
    [
        pytest.param(["cat", "dog"], r"must have different tokens.*' cat' and ' dog'", id="two unknown words"),
        pytest.param(["w3", "w3 "], r"must have different tokens.*' w3' and ' w3 '", id="a space behind one choice"),
    ],
)
def test_choices_that_the_model_cannot_tell_apart_are_refused(settings: params.Settings, choices: list[str], message):
    with pytest.raises(UserError, match=message + r".*sample own/\w+/\d\."):
        prepare.main(_ask(settings, CHOICE, CHOICE | {"prompt": "w2", "choices": choices}))


@pytest.mark.tried("tokens", "warned")
@pytest.mark.parametrize(
    ("rows", "warning", "counts"),
    [
        pytest.param(
            [CHOICE | {"split": "train"}, CHOICE | {"split": "test", "target": 1}],
            "2 samples whose question has another right answer elsewhere", [1, 1],
            id="another answer in the other split",
        ),
        pytest.param(
            [CHOICE, CHOICE | {"prompt": "w2", "choices": ["w3", "w4", "w3"]}],
            "1 items have a choice twice", [0, 0], id="a choice twice",
        ),
    ],
)  # fmt: skip
def test_samples_that_are_doubtful_are_counted_and_named(
    settings: params.Settings, caplog: pytest.LogCaptureFixture, rows, warning: str, counts: list[int]
):
    prepare.main(_ask(settings, *rows))
    assert warning in caplog.text
    table = SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS)
    assert table["contradicting"].tolist() == counts
    assert (table["in_both_splits"] <= table["taken"]).all()


@pytest.mark.tried("volatile", "right")
@pytest.mark.parametrize(
    "asked", [pytest.param("%d %b %Y", id="the day"), pytest.param("%H:%M:%S.%f", id="the second")]
)
def test_a_chat_template_is_told_the_date_of_the_settings(settings: params.Settings, tmp_path: Path, asked: str):
    model = shutil.copytree(settings.model.path, tmp_path / "chatty")
    template = "{{ strftime_now('FORMAT') }}{% for m in messages %} {{ m['content'] + '\\n' }}{% endfor %}"
    (model / "chat_template.jinja").write_text(template.replace("FORMAT", asked))
    chatty = replace(settings, model=replace(settings.model, path=str(model)))
    manifest.main(chatty)
    prepare.main(_with(chatty, tasks=("pick",), chat_template=True, chat_date="2031-05-04"))
    assert SAMPLES.read(paths.SAMPLES)["prompt"].str.startswith(f"{datetime(2031, 5, 4):{asked}}").all()
