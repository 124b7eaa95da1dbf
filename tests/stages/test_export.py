"""The stage export on a tiny model: what it writes generates, routes as the stage route did, and repeats its bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.profiles.profile import profile_array
from pipeline.storage.schemas import PROFILES, RESULTS, ROUTES, SAMPLES
from stages import export
from stages.inputs import paths
from tests.stages.test_group_stages import COUNT, run_all
from tests.stages.test_group_stages import settings as settings  # a fixture
from wina_amp.errors import UserError
from wina_amp.models import manifest as manifests
from wina_amp.models.load import load
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

PROFILE_SETS = ("wina", "greedy", "clustered", "kl")
METHODS = ("wina", "clustered_routed", "clustered_scores", "kl")


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    """A folder in which everything in front of the stage has run, with made-up results."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("export")
    patch.chdir(folder)
    run_all(settings, PROFILE_SETS)
    samples = SAMPLES.read(paths.SAMPLES)
    for method in ("dense", *METHODS):
        targets = (0.0,) if method == "dense" else settings.evaluate.targets
        RESULTS.write(_results(samples, method, targets), paths.results(method))
    yield folder
    patch.undo()


def _results(samples: pd.DataFrame, method: str, targets: tuple[float, ...]) -> pd.DataFrame:
    rows = [samples[["sample_id", "split"]].assign(target=target, realised_sparsity=target) for target in targets]
    results = pd.concat(rows, ignore_index=True)
    return results.assign(
        method=method,
        group=0,
        score=(np.arange(len(results)) % 2).astype(float),
        correct=np.arange(len(results)) % 2 == 1,
        loglikelihood=-1.0,
        margin=0.5,
        sparsity_by_block=[[target] * 2 for target in results["target"]],
        flops=100.0 * (1 - results["target"]),
        dense_flops=100.0,
    )


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


@pytest.mark.parametrize("name", METHODS)
def test_a_set_holds_the_methods_thresholds_and_says_whose_they_are(settings, here, tiny_llama, name):
    export.main(settings, name)
    first = {path.name: path.read_bytes() for path in (here / paths.profile_set(name)).iterdir()}
    export.main(settings, name)
    assert first == {path.name: path.read_bytes() for path in (here / paths.profile_set(name)).iterdir()}
    profile_set = ProfileSet.from_pretrained(here / paths.profile_set(name))
    table = PROFILES.read(paths.profiles(settings.methods[name].profile))
    for target in settings.evaluate.targets:
        assert np.array_equal(profile_set.at(target).numpy(), profile_array(table, target, "threshold"))
    assert profile_set.description.model.digest == manifests.read(paths.MANIFEST).digest
    groups = profile_set.description.groups
    assert sum(group.samples for group in groups if len(groups) == 1 or group.name != "all samples") == 20
    assert [target.samples for target in profile_set.description.measured] == [10] * len(settings.evaluate.targets)
    assert profile_set.description.measured[2].compute.value == 0.5
    assert (profile_set.weights is not None) == (profile_set.description.criterion == "learned") == (name == "kl")
    loaded = load(tiny_llama, revision=None, dtype="float32", device="cpu")
    with sparsify_(loaded.model, profile_set, sparsity=0.5):
        assert loaded.model.generate(torch.tensor([[1, 5, 9, 30]]), max_new_tokens=3).shape[1] > 4


@pytest.mark.parametrize(("router", "method"), [("embedding", "clustered_routed"), ("scores", "clustered_scores")])
def test_new_prompts_are_routed_as_the_stage_route_routed_them(settings, here, tiny_loaded, router, method):
    export.main(settings, method)
    samples = SAMPLES.read(paths.SAMPLES)
    routes = ROUTES.read(paths.routes(router)).set_index("sample_id")["group"]
    assert routes.nunique() == COUNT
    profile_set = ProfileSet.from_pretrained(paths.profile_set(method))
    with sparsify_(tiny_loaded.model, profile_set, sparsity=0.5) as sparse:
        for row in samples.itertuples():
            ids = torch.from_numpy(row.prompt_ids.astype(np.int64))[None]
            assert int(sparse.route(ids, torch.ones_like(ids))) == routes[row.sample_id]


def test_results_that_are_out_of_date_are_refused(settings, here):
    samples = SAMPLES.read(paths.SAMPLES)
    whole = RESULTS.read(paths.results("wina"))
    RESULTS.write(_results(samples, "wina", settings.evaluate.targets[:2]), paths.results("wina"))
    try:
        with pytest.raises(UserError, match=r"Found: 0 test samples at 0\.5, 10 of the dense model"):
            export.main(settings, "wina")
    finally:
        RESULTS.write(whole, paths.results("wina"))
