"""`wina_amp.calibrate` gives the thresholds, groups and router of the stages for the same samples, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.methods import RouterSettings
from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.profiles.profile import profile_array
from pipeline.storage.schemas import ASSIGNMENTS, PROFILES, SAMPLES
from stages import aggregate, allocate, capture, cluster, manifest, profile, route
from stages.inputs import paths
from tests.settings import full as full_settings
from wina_amp import calibrate
from wina_amp.calibration.dataset import tokenized
from wina_amp.calibration.settings import CalibrationSettings
from wina_amp.models.load import LoadedModel
from wina_amp.routing.router import load_router

TARGETS = (0.4, 0.65)
COUNT = 2
BATCH = 100
PROFILE_SETS = {
    "teal": ProfileSettings("global", "teal", "uniform", "group_histograms/global"),
    "greedy": ProfileSettings("global", "wina", "greedy", "group_histograms/global"),
    "clustered": ProfileSettings("activation", "wina", "greedy", "allocations/greedy"),
    "clustered_uniform": ProfileSettings("activation", "wina", "uniform", "group_histograms/activation"),
    "kl": ProfileSettings("global", "wina", "kl", "group_histograms/global"),
    "kl_clustered": ProfileSettings("activation", "wina", "kl", "allocations/kl"),
}


def dataset() -> list[tuple[str, str]]:
    """Prompts and answers of two kinds, each with words of its own, that the tiny model's tokenizer knows."""
    rng = np.random.default_rng(0)

    def words(first: int, number: int) -> str:
        return " ".join(f"w{word}" for word in rng.integers(first, first + 30, number))

    return [(words(30 * (i % 2), 6 + i % 5), " " + words(30 * (i % 2), 2)) for i in range(22)]


def table(loaded: LoadedModel) -> pd.DataFrame:
    """The same as train samples, and test samples that are too long to be batched with them."""
    train = tokenized(dataset(), loaded.tokenizer, samples=22, length=64, dense_prefix=1)
    rng = np.random.default_rng(1)
    rows = [(sample.sample_id, "train", sample.prompt_ids, sample.answer_ids) for sample in train]
    rows += [(f"test{i}", "test", rng.integers(4, 64, BATCH // 2 + 10).tolist(), [5, 6]) for i in range(4)]
    constant = {"doc_id": 0, "doc_hash": "", "kind": "choice", "subject": "", "shots": 0, "prompt": "", "target": 0}
    labels = {"task": "one", "computation": "one", "answer": "a"}
    return pd.DataFrame(
        [
            constant
            | labels
            | {
                "sample_id": sample_id,
                "split": split,
                "template": f"t{number % 2}",
                "choices": ["a", "b"],
                "prompt_ids": np.array(prompt, dtype=np.int32),
                "answer_ids": np.array(answer, dtype=np.int32),
                "n_tokens": len(prompt),
            }
            for number, (sample_id, split, prompt, answer) in enumerate(rows)
        ]
    )


@pytest.fixture(scope="module")
def settings(tiny_llama: Path) -> Settings:
    full = full_settings()
    return replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        tokens=replace(full.tokens, batch=BATCH),
        cluster=replace(full.cluster, count=COUNT, algorithm="kmeans"),
        allocate=replace(
            full.allocate,
            greedy_step=0.5,
            greedy_tokens=40,
            kl_steps=3,
            kl_tokens=150,
        ),
        thresholds=replace(full.thresholds, tokens=60),
        evaluate=replace(full.evaluate, targets=TARGETS),
        capture=replace(full.capture, criteria=("teal", "wina")),
        profiles=PROFILE_SETS,
        route=replace(full.route, routers={"embedding": RouterSettings("embedding", "assignments/activation")}),
    )


@pytest.fixture(scope="module")
def options(settings: Settings) -> CalibrationSettings:
    """The settings of the stages, as `calibrate` takes them."""
    allocate = settings.allocate
    names = ("greedy_step", "greedy_tokens", "kl_steps", "kl_tokens", "kl_rate")
    return CalibrationSettings(
        mantissa_bits=settings.capture.mantissa_bits,
        signature_dim=settings.capture.signature_dim,
        components=settings.cluster.components,
        weight_decay=settings.route.weight_decay,
        is_lazy=allocate.greedy_search == "lazy",
        threshold_tokens=settings.thresholds.tokens,
        batch=settings.tokens.batch,
        seed=settings.seed,
        **{name: getattr(allocate, name) for name in names},
    )


@pytest.fixture(scope="module", autouse=True)
def done(settings: Settings, tiny_loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in which the stages have run, the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pipeline"))
        SAMPLES.write(table(tiny_loaded), paths.SAMPLES)
        manifest.main(settings)
        capture.main(settings)
        cluster.main(settings)
        for scheme in ("global", "activation"):
            aggregate.main(settings, scheme)
        for name in PROFILE_SETS:
            allocate.main(settings, name)
            profile.main(settings, name)
        route.main(settings, "embedding")
        yield


@pytest.mark.parametrize("name", PROFILE_SETS)
def test_thresholds_are_those_of_the_stages(name: str, tiny_loaded: LoadedModel, options: CalibrationSettings):
    chosen = PROFILE_SETS[name]
    made = calibrate(
        tiny_loaded.model,
        tiny_loaded.tokenizer,
        dataset(),
        criterion=chosen.criterion,
        allocation=chosen.allocation,
        sparsity=TARGETS,
        groups=COUNT if chosen.scheme == "activation" else 1,
        progress=False,
        settings=options,
    )
    rows = PROFILES.read(paths.profiles(name))
    groups = len(made.description.groups)  # `kl` groups of the study have the pooled one behind them
    expected = np.stack([profile_array(rows, target, "threshold")[:groups] for target in TARGETS])
    assert made.thresholds.shape == (len(TARGETS), groups, 2, 7)
    np.testing.assert_array_equal(made.thresholds.numpy(), expected)
    if groups > 1:
        assigned = ASSIGNMENTS.read(paths.assignments("activation"))
        sizes = assigned[assigned["split"] == "train"]["group"].value_counts().sort_index().tolist()
        assert [group.samples for group in made.description.groups] == sizes
        router, facts = load_router(paths.router_weights("embedding"))
        assert made.router is not None and made.description.router == facts
        assert all((made.router.state_dict()[key] == value).all() for key, value in router.state_dict().items())
