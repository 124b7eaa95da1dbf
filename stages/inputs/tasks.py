"""The tasks of the benchmark, as `prepare` and `evaluate` load them, with the same prompts in both."""

from __future__ import annotations

from datetime import date

from pipeline.config.inputs import BenchmarkSettings
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.task_view import Prompting, TaskView
from pipeline.tasks.windows import Windows
from wina_amp.names import CONFIRMATION, TEST, TRAIN


def load_benchmark(benchmark: BenchmarkSettings) -> dict[str, dict[str, TaskView]]:
    """The views of every task that is evaluated or calibrates, by name; see `load_tasks` for the errors."""
    prompting = Prompting(
        num_fewshot=benchmark.num_fewshot,
        is_chat=benchmark.chat_template,
        today=date.fromisoformat(benchmark.chat_date),
        windows=Windows(benchmark.text_context, benchmark.text_scored),
    )
    names = (*benchmark.tasks, *(benchmark.calibration or ()))
    return load_tasks(benchmark.include, names, prompting, refit=benchmark.refit)


def counts(benchmark: BenchmarkSettings, view: TaskView) -> dict[str, int]:
    """Numbers of samples of every split of the task of `view`: none for a purpose that no setting names it for."""
    names = set(view.requested_as)
    calibrates = names & set(benchmark.tasks if benchmark.calibration is None else benchmark.calibration)
    is_evaluated = bool(names & set(benchmark.tasks))
    limits = [limit for name, limit in benchmark.limits.items() if name in names]
    held_out = {TEST: benchmark.test_samples, CONFIRMATION: benchmark.confirmation_samples}
    return {
        TRAIN: benchmark.train_samples if calibrates else 0,
        **{split: min([number, *limits]) if is_evaluated else 0 for split, number in held_out.items()},
    }
