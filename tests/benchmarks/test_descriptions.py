"""`benchmarks.descriptions`: quantiles are those of the histograms, and fractions of tokens those of a loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import descriptions
from pipeline.config import params
from pipeline.storage.schemas import HISTOGRAMS, PROFILES, SAMPLES
from stages.inputs import paths
from stages.inputs.model import load_model
from tests.stages.test_group_stages import run_all
from tests.stages.test_group_stages import settings as settings  # a fixture
from wina_amp.histograms.bins import Bins
from wina_amp.models.projections import projections, sites
from wina_amp.scoring.criteria import projection_weights


@pytest.fixture(scope="module")
def here(settings, tmp_path_factory):
    """A folder in which the stages have run for the pooled profile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("DVC_STAGE", raising=False)
        patch.chdir(tmp_path_factory.mktemp("descriptions"))
        run_all(settings, ("kl",))
        yield Path.cwd()


def test_quantiles_are_those_of_every_histogram(settings, here):
    bins = Bins(settings.capture.mantissa_bits)
    ids = SAMPLES.read(paths.SAMPLES, columns=("sample_id", "split"))
    train = ids["sample_id"][ids["split"] == "train"].tolist()
    values_by_text = descriptions.quantiles(train, bins)
    rows = HISTOGRAMS.read_parts(paths.HISTOGRAMS)
    histograms = rows[(rows["sample_id"] == train[3]) & (rows["criterion"] == "wina")].sort_values(
        ["block", "projections"]
    )
    assert values_by_text.shape == (len(train), len(histograms), len(descriptions.FRACTIONS))
    for row, values in zip(histograms.itertuples(), values_by_text[3], strict=True):
        dense = np.zeros((1, bins.count), np.int64)
        dense[0, row.first_bin : row.first_bin + len(row.counts)] = row.counts
        for fraction, value in zip(descriptions.FRACTIONS, values, strict=True):
            assert 2**value == pytest.approx(float(bins.quantile(dense, np.array([fraction]))[0]), rel=1e-9)


def test_a_feature_is_active_in_the_fraction_of_tokens_that_keep_it(settings, here, monkeypatch):
    monkeypatch.setattr(descriptions, "TARGET", 0.5)
    tiny_loaded = load_model(settings.model)
    prompts = [np.array([5, 9, 12, 7]), np.array([30, 31]), np.array([8, 8, 40, 41, 42, 43])]
    values_by_text = descriptions.active(
        replace(settings, tokens=replace(settings.tokens, batch=8)), prompts, tiny_loaded
    )
    site = sites(projections(tiny_loaded.model))[0]
    first = site.projections[0]
    table = PROFILES.read(paths.profiles("kl"))
    at = (table["target"] == 0.5) & (table["block"] == first.block) & (table["projection"] == first.name)
    weights, seen = projection_weights("learned", first), []
    handle = first.module.register_forward_pre_hook(lambda _module, args: seen.append(args[0].detach()))
    for row, prompt in enumerate(prompts):
        seen.clear()
        with torch.inference_mode():
            tiny_loaded.decoder(input_ids=torch.from_numpy(prompt)[None], use_cache=False)
        kept = (seen[0][0, 1:].abs() * weights > float(table.loc[at, "threshold"].iloc[0])).float().mean(dim=0)
        np.testing.assert_allclose(values_by_text[row, : site.features], kept.numpy(), atol=1e-6)
    handle.remove()
    assert ((values_by_text >= 0) & (values_by_text <= 1)).all() and 0 < values_by_text.mean() < 1


def test_every_way_of_grouping_is_tried(settings, here, capsys, monkeypatch):
    cluster = replace(settings.cluster, components=4, min_cluster_size=3)
    small = replace(settings, gradient=replace(settings.gradient, counts=(2,)), cluster=cluster)
    monkeypatch.setattr(params, "load", lambda: small)
    monkeypatch.setattr(descriptions, "TARGET", 0.5)
    monkeypatch.setattr(descriptions, "plain", lambda points, *_: [np.arange(len(points)) % 2] * 4)  # UMAP is slow
    monkeypatch.setattr("sys.argv", ["descriptions", "--count", "2", "--only", "signatures", "quantiles"])
    descriptions.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["description", "signatures", "quantiles"]
    assert all(line.count("+-") == 5 for line in lines[1:])
