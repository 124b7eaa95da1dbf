"""`wina_amp.cli.teal_files`: the thresholds of TEAL's own code, and files of another model refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray

from tests.wina_amp.cli.teal import activations, walk, write
from wina_amp.cli.teal_files import PLACES, teal_thresholds, threshold
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import Projection, projections

TARGETS = (0.3, 0.5)
BIN = 0.01
"""Fraction of the scores in the largest bin of `tests.wina_amp.cli.teal`, and what its draws are not symmetric by."""
FLOAT32_SUM = 1e-4
"""Relative: theirs are float32 sums of up to 400 counts."""


@pytest.fixture
def every(tiny_loaded: LoadedModel) -> list[Projection]:
    return projections(tiny_loaded.model)


@pytest.fixture
def folder(every: list[Projection], tmp_path: Path) -> Path:
    write(tmp_path / "teal", every, packed=False)
    return tmp_path / "teal"


def their_icdf(counts: torch.Tensor, centers: torch.Tensor, q: float) -> float:
    """Transcription of `Distribution.icdf` of TEAL: float32, one step at a time."""
    cumulative, wanted = torch.cumsum(counts, 0), q * counts.sum()
    index = int(torch.searchsorted(cumulative, wanted))
    if index == 0:
        return float(centers[0])
    if index == len(centers):
        return float(centers[-1])
    fraction = (wanted - cumulative[index - 1]) / (cumulative[index] - cumulative[index - 1])
    return float(centers[index - 1] + fraction * (centers[index] - centers[index - 1]))


@pytest.mark.parametrize("allocation", ["uniform", "greedy"])
def test_thresholds_are_those_of_their_code(folder: Path, every: list[Projection], allocation: str):
    ours = teal_thresholds(folder, every, TARGETS, allocation)
    assert ours.shape == (2, 2, 7) and ours.dtype == np.float32
    for number, target in enumerate(TARGETS):
        for index, projection in enumerate(every):
            part, name = PLACES[projection.site]
            file = folder / "histograms" / f"layer-{projection.block}" / part / "histograms.pt"
            tensors = torch.load(file, weights_only=True)
            own = [each for each in every if each.block == projection.block]
            row = min(walk(own), key=lambda row: abs(row[0] - target))
            sparsity = row[1 + index % 7] if allocation == "greedy" else target
            theirs = their_icdf(tensors[name], tensors[f"{name}_centers"], 0.5 + sparsity / 2) if sparsity else 0.0
            assert ours[number, projection.block, index % 7] == pytest.approx(theirs, rel=FLOAT32_SUM)


def test_uniform_thresholds_mask_the_target_of_symmetric_activations(folder: Path, every: list[Projection]):
    limits = teal_thresholds(folder, every, TARGETS, "uniform")
    for target, of_target in zip(TARGETS, limits, strict=True):
        for projection, limit in zip(every, of_target.ravel(), strict=True):
            scores = activations(projection.site, projection.block).abs()
            assert float((scores <= float(limit)).float().mean()) == pytest.approx(target, abs=2 * BIN)


@pytest.mark.parametrize("allocation", ["uniform", "greedy"])
def test_arrays_in_one_file_give_the_same(folder: Path, every: list[Projection], tmp_path: Path, allocation: str):
    write(tmp_path / "packed", every, packed=True)
    packed = teal_thresholds(tmp_path / "packed", every, TARGETS, allocation)
    np.testing.assert_array_equal(packed, teal_thresholds(folder, every, TARGETS, allocation))


def test_a_threshold_rises_with_the_sparsity_from_0_to_the_last_center():
    centers, counts = np.linspace(-2, 3, 50), np.random.default_rng(0).integers(0, 9, 50)
    limits = [threshold(centers, np.cumsum(counts).astype(float), sparsity) for sparsity in np.linspace(0, 1.5, 60)]
    assert limits == sorted(limits) and limits[0] == 0 and limits[-1] == 3


def _without(path: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()


def _with_table(change: Callable[[str], str]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        file = folder / "lookup" / "layer-1" / "results.csv"
        file.write_text(change(file.read_text()))

    return run


def _with_histogram(change: Callable[[ndarray, ndarray], tuple[ndarray, ndarray]]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        file = folder / "histograms" / "layer-1" / "mlp" / "histograms.pt"
        tensors = torch.load(file, weights_only=True)
        changed = change(tensors["h2"].numpy(), tensors["h2_centers"].numpy())
        torch.save(tensors | dict(zip(("h2", "h2_centers"), map(torch.from_numpy, changed), strict=True)), file)

    return run


def _saved(content: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(content, folder / "histograms" / "layer-1" / "mlp" / "histograms.pt")


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_without("histograms"), "must have TEAL's histograms", id="no histograms"),
        pytest.param(_without("histograms/layer-1"), "as many blocks, 2.*1 blocks", id="a layer too few"),
        pytest.param(_without("histograms/layer-0"), "q of block 0", id="a layer left out"),
        pytest.param(_without("histograms/layer-1/mlp/histograms.pt"), "gate of block 1", id="no histogram of the MLP"),
        pytest.param(
            lambda folder: (folder / "histograms/layer-1/mlp/histograms.pt").write_bytes(b"PK"),
            "must hold arrays by name",
            id="a histogram cut off",
        ),
        pytest.param(
            lambda folder: (folder / "histograms.npz").write_bytes(b"PK\x03\x04" + bytes(99)),
            "must hold arrays by name",
            id="an archive cut off",
        ),
        pytest.param(_saved([1, 2]), "must hold arrays by name", id="a list"),
        pytest.param(_saved({"h1": "text"}), "must hold arrays by name", id="a text for an array"),
        pytest.param(_saved(Path("x")), "must hold arrays by name", id="an object, which could run code"),
        pytest.param(_with_histogram(lambda h, c: (h, np.abs(c))), "ascending", id="centers that fall"),
        pytest.param(_with_histogram(lambda h, c: (h, c + 99)), "must count signed", id="absolute scores"),
        pytest.param(_with_histogram(lambda h, c: (h[1:], c)), "center for every count", id="a count too few"),
        pytest.param(_with_histogram(lambda h, c: (0 * h, c)), "not all 0", id="counts of 0"),
        pytest.param(_with_histogram(lambda h, c: (h * np.nan, c)), "not negative", id="counts of NaN"),
        pytest.param(_without("lookup/layer-1"), "must have its greedy table", id="no table of a layer"),
        pytest.param(_with_table(lambda text: text.replace("gate", "gates", 1)), "no gate", id="a column too few"),
        pytest.param(_with_table(lambda _: ""), "no Effective Sparsity, q, k", id="an empty table"),
        pytest.param(_with_table(lambda text: text.replace("\n0.", "\nx", 1)), "hold numbers", id="a table of text"),
        pytest.param(
            _with_table(lambda text: "\n".join(text.splitlines()[:20])), "reach the target 0.3", id="a short table"
        ),
    ],
)
def test_what_is_not_of_this_model_or_not_whole_is_refused_by_name(
    folder: Path, every: list[Projection], change: Callable[[Path], None], message: str
):
    change(folder)
    with pytest.raises(UserError, match=f"(?s){message}"):
        teal_thresholds(folder, every, TARGETS, "greedy")


@pytest.mark.tried("errors", "refused")
def test_a_greedy_table_of_matrices_of_other_shapes_is_refused(folder: Path, every: list[Projection]):
    wider = [replace(each, out_features=2 * each.out_features) if each.name == "up" else each for each in every]
    with pytest.raises(UserError, match="must be the mean over the model's weights"):
        teal_thresholds(folder, wider, TARGETS, "greedy")


@pytest.mark.tried("errors", "refused")
def test_a_model_with_fused_projections_has_uniform_thresholds_and_no_greedy_table(
    folder: Path, every: list[Projection]
):
    fused = [replace(each, name="qkv") if each.name == "q" else each for each in every if each.name not in ("k", "v")]
    whole = teal_thresholds(folder, every, TARGETS, "uniform")
    np.testing.assert_array_equal(teal_thresholds(folder, fused, TARGETS, "uniform"), np.delete(whole, (1, 2), axis=2))
    with pytest.raises(UserError, match="no qkv"):
        teal_thresholds(folder, fused, TARGETS, "greedy")
