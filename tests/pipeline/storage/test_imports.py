"""`pipeline.storage.imports`: the same modules that another reader of sources (grimp) finds, late imports included."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.storage.imports import needed
from tests.dvc import deps

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("stage", sorted(deps.all_stages()))
def test_stages_need_what_grimp_finds(stage: str):
    written = deps.all_stages()[stage]
    module = deps.module_of(written)
    found = {str(file.relative_to(ROOT)) for file in needed([module], ROOT, deps.PACKAGES).values()}
    assert found == {file for file in deps.code_of(written | {"deps": []}) if file.endswith(".py")}


def test_late_and_conditional_imports_count_and_those_for_type_checkers_do_not(tmp_path: Path):
    sources = {
        "ours/__init__.py": "",
        "ours/start.py": "from typing import TYPE_CHECKING\nimport os\nif TYPE_CHECKING:\n    import ours.typed\n"
        "else:\n    import ours.other\n\ndef late():\n    from ours.deep import last\n",
        "ours/typed.py": "",
        "ours/other.py": "import ours.start\n",  # a circle ends
        "ours/unused.py": "",
        "ours/deep/__init__.py": "from ours import beside\n",
        "ours/deep/last.py": "",
        "ours/beside.py": "",
    }
    for name, text in sources.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    found = needed(["ours.start", "elsewhere"], tmp_path, ("ours",))
    assert found.keys() == {"ours", "ours.start", "ours.other", "ours.deep", "ours.deep.last", "ours.beside"}
    assert found["ours.deep"] == tmp_path / "ours" / "deep" / "__init__.py"
