"""`pipeline.latency.machine`: the last-level cache as Linux and CUDA describe it, or unknown."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.latency import machine as machines
from pipeline.latency.machine import device_name, last_level_cache, machine

CPU = torch.device("cpu")


def _caches(folder: Path, *rows: tuple[str, int, str]) -> Path:
    for number, (kind, level, size) in enumerate(rows):
        index = folder / f"index{number}"
        index.mkdir()
        for name, value in (("type", kind), ("level", level), ("size", size)):
            (index / name).write_text(f"{value}\n")
    return folder


def test_the_unified_cache_of_the_highest_level_counts(tmp_path):
    rows = [("Data", 1, "32K"), ("Instruction", 1, "32K"), ("Unified", 2, "1024K"), ("Unified", 3, "32768K")]
    assert last_level_cache(CPU, _caches(tmp_path, *rows)) == 32 << 20


@pytest.mark.parametrize(("text", "size"), [("12M", 12 << 20), ("1G", 1 << 30), ("512", 512)])
def test_sizes_have_units(tmp_path, text, size):
    assert last_level_cache(CPU, _caches(tmp_path, ("Unified", 2, text))) == size


def test_a_machine_that_says_nothing_has_no_known_cache(tmp_path):
    assert last_level_cache(CPU, tmp_path / "nothing") is None
    assert last_level_cache(CPU, _caches(tmp_path, ("Data", 1, "32K"), ("Unified", 2, "odd"))) is None


@pytest.mark.parametrize(("properties", "size"), [({"L2_cache_size": 50 << 20}, 50 << 20), ({}, None)])
def test_a_gpu_has_an_l2(monkeypatch, properties, size):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(**properties))
    assert last_level_cache(torch.device("cuda")) == size


def test_a_device_has_the_name_it_gives_itself(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("vendor_id : x\nmodel name\t: A Processor 3000\nmodel name : another\n")
    assert device_name(CPU, tmp_path / "cpuinfo") == "A Processor 3000"
    assert device_name(CPU, tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "A GPU")
    assert device_name(torch.device("cuda")) == "A GPU"


def test_the_facts_are_json_the_same_every_time_and_name_what_is_missing(monkeypatch):
    monkeypatch.setattr(machines, "_PACKAGES", ("torch", "no-such-package"))
    facts = machine(CPU, 3)
    assert json.dumps(facts) == json.dumps(machine(CPU, 3))
    assert facts["threads"] == 3 and facts["torch"] and facts["no-such-package"] is None and "cuda" not in facts
