"""prepare: samples for the purpose that settings give each task, and a count of what was left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import params
from pipeline.storage.schemas import SAMPLE_COUNTS, SAMPLES
from stages import prepare
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
    return replace(
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


def _with(settings: params.Settings, **changes: object) -> params.Settings:
    return replace(settings, benchmark=replace(settings.benchmark, **changes))


def _taken() -> dict[tuple[str, str], int]:
    samples = SAMPLES.read(paths.SAMPLES)
    counts = SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS)
    sizes = samples.groupby(["task", "split"]).size().to_dict()
    assert counts.set_index(["task", "split"])["taken"].to_dict() == sizes
    return sizes


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
