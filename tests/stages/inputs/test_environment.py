"""`stages.inputs.environment`: whether there is a GPU; what else it says is tried in `test_fingerprint.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from stages.inputs import environment


@pytest.mark.skipif(torch.version.cuda is not None or torch.version.hip is not None, reason="a build for GPUs")
def test_a_build_for_cpus_has_no_gpu_and_pytorch_is_not_imported_to_know_it() -> None:
    code = "import sys; from stages.inputs.environment import has_gpu; print(has_gpu(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_build_for_gpus_is_asked(is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.runpy, "run_path", lambda _path: {"cuda": "12.8", "hip": None})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    assert environment.has_gpu() == is_there
