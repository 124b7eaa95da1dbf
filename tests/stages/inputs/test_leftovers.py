"""`stages.inputs.leftovers`: what no stage makes any more does not stay in the folders that stages read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from pipeline.config.params import PARAMS, Settings, load, parse
from stages.inputs import leftovers
from stages.inputs.leftovers import REMOVED, forget, set_aside
from tests.dvc import deps
from tests.settings import full, full_text

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own code

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = full()


def test_outs_are_those_that_dvc_knows_and_folders_those_that_several_stages_fill(tmp_path: Path):
    shutil.copy(deps.ROOT / deps.MAIN, tmp_path)
    (tmp_path / "params.yaml").write_text(full_text())
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = repo.stage.load_file(str(tmp_path / deps.MAIN))
        known = {out.def_path for stage in stages for out in stage.outs}
    outs, deps_of_all = leftovers.outs_and_deps(SETTINGS)
    assert outs == known
    folders = sorted(deps_of_all & {str(Path(out).parent) for out in outs})
    assert folders == ["data/allocation_costs", "data/assignments", "data/profiles", "data/results", "data/routes"]


def _without(section: str, name: str) -> Settings:
    rows = getattr(SETTINGS, section)
    return replace(SETTINGS, **{section: {key: row for key, row in rows.items() if key != name}})


@pytest.mark.tried("damage", "right")
@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        pytest.param(SETTINGS, {"data/results/oracle.parquet"}, id="a table that nobody knows"),
        pytest.param(_without("methods", "kl"), {"data/results/kl.parquet"}, id="a removed method"),
        pytest.param(
            _without("profiles", "kl"),
            {"data/profiles/kl.parquet", "data/allocation_costs/kl.parquet"},
            id="a removed profile set",
        ),
        pytest.param(
            replace(SETTINGS, route=replace(SETTINGS.route, benefit_routers={})),
            {
                f"data/routes/benefit.{end}"
                for end in ("parquet", "held_out.parquet", "benefits.parquet", "safetensors")
            },
            id="a removed router",
        ),
        pytest.param(
            replace(SETTINGS, gradient=replace(SETTINGS.gradient, pooled=())),
            {
                f"data/assignments/{name}"
                for name in (
                    "gradient.parquet", "gradient.json", "gradient_random.parquet", "gradient_random1.parquet",
                    "gradient_random2.parquet",
                )
            },
            id="removed gradient clusters",
        ),
    ],
)  # fmt: skip
def test_only_what_the_settings_do_not_ask_for_is_moved(
    settings: Settings, moved: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    outs, _ = leftovers.outs_and_deps(SETTINGS)
    for path in map(Path, {*outs, *moved, "data/results/.kl.parquet.4711.tmp", "data/mine.parquet"}):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    assert {str(path) for path in set_aside(settings)} == moved
    assert all(_removed(path).read_text() == path and not Path(path).exists() for path in moved)
    assert all(Path(path).exists() for path in {*outs, "data/mine.parquet"} - moved)
    assert set_aside(settings) == []


def _removed(path: str) -> Path:
    return Path("data", REMOVED) / Path(path).relative_to("data")


@pytest.mark.tried("damage", "right")
@pytest.mark.parametrize("name", ["notes.txt", "notes/notes.txt"], ids=["a file", "a folder"])
def test_a_file_of_ones_own_is_moved_and_never_lost(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for text in ("first", "second", "third"):
        _leave(name, text)
        set_aside(SETTINGS)
    assert _kept() == ["first", "second", "third"]


def test_a_table_that_is_moved_again_is_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        _leave("old.parquet", "a table")
        set_aside(SETTINGS)
    assert _kept() == ["a table"]


def test_dvc_lock_forgets_the_stages_that_are_gone_and_keeps_the_others_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    head, kept = "schema: '2.0'\nstages:\n", "  evaluate@kl:\n    cmd: run\n    outs:\n    - path: a\n      size: 1\n"
    Path("dvc.lock").write_text(f"{head}  gate@gate:\n    cmd: run\n{kept}  evaluate@gone:\n    cmd: run\n")
    forget(SETTINGS)
    assert Path("dvc.lock").read_text() == head + kept


@pytest.mark.tried("damage", "recomputed")
@pytest.mark.parametrize("at", [10, 40, 300, 301, 313, 333, 2000, -1000, -12, -3, -1])
def test_a_dvc_lock_that_was_cut_off_is_one_that_dvc_reads(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """DVC writes the file in place: killed meanwhile, it leaves the beginning."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(leftovers, "_WRITING_SECONDS", 0)
    whole = (ROOT / "dvc.lock").read_bytes()
    Path("dvc.lock").write_bytes(whole[:at])
    forget(load(ROOT / PARAMS))
    if Path("dvc.lock").exists():
        COMPILED_LOCKFILE_SCHEMA(parse(Path("dvc.lock")))
        assert whole.startswith(Path("dvc.lock").read_bytes())
    else:
        assert 0 < at < whole.index(b"  prepare:"), "no stage is whole"


@pytest.mark.parametrize("at", [0, 300, -3])
def test_a_dvc_lock_that_dvc_is_writing_is_waited_for(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    whole, steps = (ROOT / "dvc.lock").read_bytes(), iter([len((ROOT / "dvc.lock").read_bytes()) - 2, None])
    Path("dvc.lock").write_bytes(whole[:at])
    monkeypatch.setattr(leftovers.time, "sleep", lambda _seconds: Path("dvc.lock").write_bytes(whole[: next(steps)]))
    forget(load(ROOT / PARAMS))
    assert Path("dvc.lock").read_bytes() == whole


@pytest.mark.parametrize("end", [b"", b"      isexec: true\n"], ids=["a file", "an executable file"])
def test_nothing_of_a_whole_dvc_lock_is_taken_for_cut_off(end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    whole = (ROOT / "dvc.lock").read_bytes() + end
    Path("dvc.lock").write_bytes(whole)
    forget(load(ROOT / PARAMS))
    assert Path("dvc.lock").read_bytes() == whole


def _leave(name: str, text: str) -> None:
    path = Path("data/results", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _kept() -> list[str]:
    return sorted(file.read_text() for file in Path("data", REMOVED).rglob("*") if file.is_file())


PIPELINE = """stages:
  evaluate:
    foreach: ${methods}
    do:
      cmd: cp made data/results/${key}.parquet
      deps: [made]
      outs: ["data/results/${key}.parquet"]
  report:
    cmd: cat data/results/* > data/report
    deps: [data/results]
    params: [methods]
    outs: [data/report]
"""


@pytest.mark.tried("damage", "right")
@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda: None, id="a removed method"),
        pytest.param(lambda: Path("data/results/.kl.parquet.4711.tmp").touch(), id="a temporary file"),
        pytest.param(lambda: Path("data/results/.DS_Store").touch(), id="a file manager's file"),
        pytest.param(lambda: Path("data/results/mine.parquet").touch(), id="a file of one's own"),
    ],
)
def test_a_clone_runs_nothing_after_a_run_beside(
    leave: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A clone has the outs that dvc.yaml knows, and nothing else."""
    (tmp_path / "main" / "data" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "main")
    monkeypatch.setattr(leftovers, "ROOT", tmp_path / "main")
    Path("dvc.yaml").write_text(PIPELINE)
    Path("made").write_text("1")
    with Repo.init(".", no_scm=True):
        shutil.copy(deps.ROOT / ".dvcignore", ".dvcignore")
    for methods in (("kl", "wina"), ("kl",)):
        Path("params.yaml").write_text(f"methods: {dict.fromkeys(methods, 1)}\n")
        leave()
        set_aside(replace(SETTINGS, methods={name: SETTINGS.methods[name] for name in methods}))
        with Repo() as repo:
            repo.reproduce()
    clone = shutil.copytree(tmp_path / "main", tmp_path / "clone", ignore=shutil.ignore_patterns("data", ".scratch"))
    monkeypatch.chdir(clone)
    Path("data").mkdir()
    with Repo() as repo:
        repo.checkout()
        assert repo.status() == {}
