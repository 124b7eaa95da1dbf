"""`stages.capture`: both tables are written, and a run that was interrupted resumes to the same bytes."""

from __future__ import annotations

import contextlib
import gc
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.capture import capture as library
from pipeline.executors.processes import PROCESSES
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import HISTOGRAMS, SAMPLES, SIGNATURES
from pipeline.storage.scratch import file_digest
from stages import capture as stage
from stages import manifest
from stages.inputs import paths
from tests.settings import full as full_settings
from tests.stages.test_group_stages import sample_rows
from wina_amp.errors import UserError
from wina_amp.tokens.samples import TokenizedSample

SAMPLE_COUNT = 12


@pytest.fixture
def settings(tiny_llama):
    """Settings for the tiny model: batches of about three samples."""
    full = full_settings()
    return replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        tokens=replace(full.tokens, batch=30),
        capture=replace(full.capture, criteria=("teal", "wina")),
    )


@pytest.fixture
def workspace(settings, tmp_path, monkeypatch):
    """A function that makes a folder with the model's manifest and a samples table the current one."""
    monkeypatch.setattr(stage, "BATCHES_PER_PART", 1)

    def enter(name, count=SAMPLE_COUNT):
        (tmp_path / name / "data").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        manifest.main(settings)
        SAMPLES.write(sample_rows(count), paths.SAMPLES)
        return tmp_path / name

    return enter


def test_the_stage_writes_histograms_of_train_samples_and_signatures_of_all(settings, workspace):
    folder = workspace("one")
    stage.main(settings)
    histograms = HISTOGRAMS.read_parts(paths.HISTOGRAMS)
    signatures = SIGNATURES.read_parts(paths.SIGNATURES)
    assert histograms.sample_id.nunique() == 2 * SAMPLE_COUNT // 3
    assert signatures.sample_id.nunique() == SAMPLE_COUNT
    assert not list((folder / ".scratch").rglob("*.parquet"))


@pytest.mark.parametrize("count", [SAMPLE_COUNT, 8 * SAMPLE_COUNT])
def test_only_the_samples_of_a_part_are_in_memory_however_many_there_are(settings, workspace, monkeypatch, count):
    workspace("one", count)
    in_part, in_memory, of_other_tests = [], [], _samples_in_memory()

    def counts(loaded, batches, **options):
        if not in_memory:  # the first part: nothing has been dropped yet that was not meant to be held
            in_part.extend(sample for batch in batches for sample in batch)
            in_memory.extend(_samples_in_memory())
        return original(loaded, batches, **options)

    original = library.capture
    monkeypatch.setattr(library, "capture", counts)
    stage.main(settings)
    assert 0 < len(in_part) < SAMPLE_COUNT
    assert {id(sample) for sample in in_memory} == {id(sample) for sample in (*in_part, *of_other_tests)}
    assert len(list(Path(paths.SIGNATURES).iterdir())) == len(list(Path(paths.HISTOGRAMS).iterdir())) > 2


def _samples_in_memory():
    return [entry for entry in gc.get_objects() if type(entry) is TokenizedSample]


def test_a_checkpoint_that_is_not_the_one_of_the_manifest_is_refused(settings, workspace, tmp_path):
    workspace("one")
    copied = shutil.copytree(settings.model.path, tmp_path / "model")
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    with pytest.raises(UserError, match=r"one that data/model\.json describes.*config\.json of .*make repro"):
        stage.main(replace(settings, model=replace(settings.model, path=str(copied))))
    (copied / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"Found: no model\.safetensors"):
        stage.main(replace(settings, model=replace(settings.model, path=str(copied))))


def test_without_a_manifest_nothing_is_loaded(settings, workspace):
    (workspace("one") / "data" / "model.json").unlink()
    with pytest.raises(UserError, match=r"manifest of the model must be readable.*data/model\.json.*make repro"):
        stage.main(settings)


def test_an_interrupted_run_resumes_with_what_is_missing_and_ends_in_the_same_bytes(settings, workspace, monkeypatch):
    workspace("whole")
    stage.main(settings)
    expected = [file_digest(path) for path in (paths.HISTOGRAMS, paths.SIGNATURES)]
    parts = len(list(Path(paths.HISTOGRAMS).iterdir()))

    workspace("interrupted")
    original = library.capture
    batches_run = []

    def stops_after_two(loaded, batches, **options):
        if len(batches_run) == 2:
            raise KeyboardInterrupt
        return counts(loaded, batches, **options)

    def counts(loaded, batches, **options):
        batches_run.extend(batches)
        return original(loaded, batches, **options)

    monkeypatch.setattr(library, "capture", stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        stage.main(settings)
    assert not Path(paths.HISTOGRAMS).exists() and not Path(paths.SIGNATURES).exists()

    monkeypatch.setattr(library, "capture", counts)
    stage.main(settings)
    assert len(batches_run) == parts > 2
    assert [file_digest(path) for path in (paths.HISTOGRAMS, paths.SIGNATURES)] == expected


@pytest.mark.tried("damage", "recomputed")
@pytest.mark.parametrize("table", ["histograms", "signatures"])
def test_a_part_that_an_interrupted_run_left_damaged_is_captured_again(settings, workspace, monkeypatch, table: str):
    workspace("whole")
    stage.main(settings)
    expected = [file_digest(path) for path in (paths.HISTOGRAMS, paths.SIGNATURES)]
    workspace("damaged")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Parts, "publish", _interrupted)
        stage.main(settings)
    (part, *_) = sorted(Path(".scratch").glob(f"capture/*/{table}/*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    part.with_name("99999.parquet").write_bytes(b"a part of an earlier plan")
    stage.main(settings)
    assert [file_digest(path) for path in (paths.HISTOGRAMS, paths.SIGNATURES)] == expected


def _interrupted(*_arguments):
    raise KeyboardInterrupt


def test_two_processes_write_what_one_writes(settings, workspace, monkeypatch):
    written = []
    for count in ("1", "2"):
        workspace(count)
        monkeypatch.setenv(PROCESSES, count)
        stage.main(settings)
        written.append([file_digest(path) for path in (paths.HISTOGRAMS, paths.SIGNATURES)])
    assert written[0] == written[1]


def test_parts_of_other_settings_are_not_picked_up(settings, workspace, monkeypatch):
    workspace("other")
    original, runs = library.capture, []

    def stops_at_the_third(loaded, batches, **options):
        if len(runs[-1]) == 2:
            raise KeyboardInterrupt
        runs[-1].append(batches)
        return original(loaded, batches, **options)

    monkeypatch.setattr(library, "capture", stops_at_the_third)
    for changed in (settings, replace(settings, seed=7), settings):
        runs.append([])
        with contextlib.suppress(KeyboardInterrupt):
            stage.main(changed)
    assert runs[0] == runs[1] and runs[2][0] not in runs[0]
