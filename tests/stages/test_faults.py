"""Faults in the middle of the long stages: a run that follows ends in the bytes of an undisturbed one.

A fault is tried where the stage keeps a part, which is where a run goes on after one. `make test` tries those of
capture, `make faults` all of them.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.params import Settings
from pipeline.storage.schemas import SAMPLES
from stages import manifest
from stages.inputs import paths
from tests.stages.spread import (
    STAGES,
    at_a_write,
    forget,
    group_settings,
    local,
    outs,
    settings,
    small_parts,
)
from tests.stages.test_group_stages import sample_rows
from wina_amp.errors import UserError

__all__ = ["group_settings", "local", "settings", "small_parts"]

Fault = Callable[[str, Settings, pytest.MonkeyPatch], None]


def _run(stage: str, settings: Settings) -> None:
    STAGES[stage][0](settings)


def _interrupted(stage: str, settings: Settings, error: BaseException, patch: pytest.MonkeyPatch) -> None:
    """Run until a part is to be written, where the error is raised."""

    def act() -> None:
        raise error

    with patch.context() as here, pytest.raises((type(error), UserError)):
        at_a_write(2, act, here)
        _run(stage, settings)
    forgotten = [out for out in STAGES[stage][1] if Path(out).exists()]
    assert forgotten == [], "an interrupted stage must leave no out"


def _killed(stage: str, settings: Settings, _patch: pytest.MonkeyPatch) -> None:
    """SIGKILL, as the kernel does where memory runs out."""
    child = multiprocessing.get_context("fork").Process(target=_kills_itself, args=(stage, settings))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def _kills_itself(stage: str, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_a_write(3, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        _run(stage, settings)


def _stopped(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C."""
    _interrupted(stage, settings, KeyboardInterrupt(), patch)


def _disk_full(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    _interrupted(stage, settings, OSError(errno.ENOSPC, "No space left on device"), patch)


def _disk_full_within(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """The part is half written when the disk is full."""
    original = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        if len(list(path.parent.glob("*.sha256"))) < 1:
            return original(path, content)
        original(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch.context() as here, pytest.raises(UserError, match="No space left"):
        here.setattr(Path, "write_bytes", half)
        _run(stage, settings)


def _read_only(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    _interrupted(stage, settings, OSError(errno.EROFS, "Read-only file system"), patch)


def _too_many_files(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    _interrupted(stage, settings, OSError(errno.EMFILE, "Too many open files"), patch)


def _memory(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    _interrupted(stage, settings, MemoryError(), patch)


def _code_changed(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    must = "Code, data and settings must stay as they are while a stage runs"
    _interrupted(stage, settings, UserError(must, found="a change", where="a package", remedy="run again"), patch)


def _damaged(change: Callable[[bytes], bytes]) -> Fault:
    """Finished parts are damaged after a run was stopped."""

    def fault(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
        _stopped(stage, settings, patch)
        for part in _parts():
            part.write_bytes(change(part.read_bytes()))

    return fault


def _no_digests(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    _stopped(stage, settings, patch)
    for digest in _digests():
        digest.unlink()


def _clock_set_back(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Finished parts are from the future."""
    _stopped(stage, settings, patch)
    for part in _parts():
        os.utime(part, (time.time() + 1e8, time.time() + 1e8))


def _leftovers(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """A killed process leaves half a file beside each part, an editor its copies."""
    _stopped(stage, settings, patch)
    for part in _parts():
        part.with_name(f".{part.name}.4711.tmp").write_bytes(b"half")
        part.with_name(f"{part.name}~").write_bytes(part.read_bytes()[:-1])


def _scratch_gone(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """`make clean` between two runs."""
    _stopped(stage, settings, patch)
    shutil.rmtree(".scratch")


def _other_settings(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Another seed in between, also stopped."""
    _stopped(stage, settings, patch)
    _stopped(stage, replace(settings, seed=settings.seed + 1), patch)


def _second_run(stage: str, settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Another process is started meanwhile: it is turned away."""
    codes: list[int | None] = []

    def start() -> None:
        child = multiprocessing.get_context("fork").Process(target=_is_refused, args=(stage, settings))
        child.start()
        child.join()
        codes.append(child.exitcode)

    with patch.context() as here:
        at_a_write(2, start, here)
        _run(stage, settings)
    assert codes == [0]
    forget(stage)


def _is_refused(stage: str, settings: Settings) -> None:
    from pipeline.storage import scratch

    for lock in scratch._held.values():  # those that a fork inherits, and another process has not
        os.close(lock)
    scratch._held.clear()
    try:
        _run(stage, settings)
    except UserError as error:
        os._exit(0 if "one process" in str(error) else 3)
    os._exit(4)


def _flip(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def _parts() -> list[Path]:
    """The finished parts of the stopped run, and what it remembers of the checkpoint (`checksums.json`)."""
    assert _digests(), "a fault is to hit what was finished"
    return [path for path in Path(".scratch").rglob("*") if path.suffix in (".parquet", ".json", ".npy")]


def _digests() -> list[Path]:
    return list(Path(".scratch").rglob("*.sha256"))


FAULTS: dict[str, Fault] = {
    "killed": _killed,
    "stopped": _stopped,
    "the disk is full": _disk_full,
    "the disk is full within a part": _disk_full_within,
    "the disk becomes read-only": _read_only,
    "too many open files": _too_many_files,
    "memory runs out": _memory,
    "code changes meanwhile": _code_changed,
    "a bit of every part flips": _damaged(_flip),
    "parts are cut short": _damaged(lambda content: content[: len(content) // 2]),
    "parts are emptied": _damaged(lambda _content: b""),
    "parts are zeros": _damaged(lambda content: bytes(len(content))),
    "parts lose their digests": _no_digests,
    "the clock is set back": _clock_set_back,
    "half files lie about": _leftovers,
    "the scratch folder goes": _scratch_gone,
    "another seed in between": _other_settings,
    "a second run": _second_run,
}

QUICK = ("killed", "the disk is full within a part", "a bit of every part flips", "a second run")
"""Tried by `make test`, on capture."""

EVERYWHERE = ("killed", "the disk is full", "parts are cut short")
"""Tried on every stage by `make faults`, all others on capture and `kl`."""

TRIED = [
    pytest.param(
        stage,
        fault,
        id=f"{stage}-{fault}",
        marks=() if stage == "capture" and fault in QUICK else pytest.mark.fault,
    )
    for stage in STAGES
    for fault in FAULTS
    if stage in ("capture", "kl") or fault in EVERYWHERE
]


@pytest.mark.tried("fault", "recomputed")
@pytest.mark.parametrize(("stage", "fault"), TRIED)
def test_a_run_after_a_fault_ends_in_the_bytes_of_an_undisturbed_one(
    stage: str, fault: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings: Settings = request.getfixturevalue("capture_settings" if stage == "capture" else "settings")
    undisturbed: Path = request.getfixturevalue("captured" if stage == "capture" else "local")
    shutil.copytree(undisturbed / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    expected = outs(stage)
    forget(stage)
    FAULTS[fault](stage, settings, monkeypatch)
    _run(stage, settings)
    assert outs(stage) == expected


@pytest.fixture(scope="module")
def capture_settings(settings: Settings) -> Settings:
    """Without learned weights, so that no stage has to run before."""
    return replace(settings, capture=replace(settings.capture, criteria=("teal", "wina")))


@pytest.fixture(scope="module")
def captured(capture_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed capture."""
    folder = tmp_path_factory.mktemp("captured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        SAMPLES.write(sample_rows(), paths.SAMPLES)
        manifest.main(capture_settings)
        _run("capture", capture_settings)
    return folder
