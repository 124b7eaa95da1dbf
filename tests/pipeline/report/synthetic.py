"""A made-up experiment with known truth, as the tables that the report reads; no model is run.

Samples have crossed labels; clusters follow the template for most samples; group profiles gain `gain` accuracy over
pooled ones at the sparsest target; the `scores` router errs on 3% of the samples, the `embedding` router on 15%.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.evaluate.first_samples import among_first
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Method, Plan
from pipeline.storage.schemas import TIMINGS
from wina_amp.names import ACTIVATION_RANDOM_SCHEMES, GRADIENT_RANDOM_SCHEMES

TARGETS = (0.25, 0.4, 0.5, 0.65)
TEMPLATES = ("note", "talk", "code", "form")
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
COMPUTATIONS = (
    "addition", "subtraction", "comparison", "sorting", "reversal", "boolean",
    "tracing", "tracking", "agreement", "translation", "facts", "analogy",
)  # fmt: skip
ERROR_RATES = {"embedding": 0.15, "scores": 0.03}
DENSE_FLOPS_PER_TOKEN = 4.5e6
ROUTER_FLOPS = {"embedding": 1500.0, "scores": 48000.0}
GROUPS = 4
REACH = 0.4
"""The highest target of methods whose masks reach only a part of the weights."""
BLOCKS = 5

METHODS = (
    Method("dense"),
    Method("teal", "teal", "global", "teal", "uniform", "assigned", "threshold"),
    Method("wina", "wina", "global", "wina", "uniform", "assigned", "threshold"),
    Method("greedy", "greedy", "global", "wina", "greedy", "assigned", "threshold"),
    Method("clustered_oracle", "clustered", "activation", "wina", "greedy", "assigned", "threshold"),
    Method("clustered_embedding", "clustered", "activation", "wina", "greedy", "embedding", "threshold"),
    Method("clustered_scores", "clustered", "activation", "wina", "greedy", "scores", "threshold"),
    Method("task", "task", "task", "wina", "greedy", "assigned", "threshold"),
    Method("random", "random", "random", "wina", "greedy", "assigned", "threshold"),
)
COSTS = {"uniform": 0, "greedy": 1, "kl": 40}
LOSS = {"teal": 0.34, "wina": 0.27, "greedy": 0.2, "clustered": 0.2, "task": 0.19, "random": 0.2}
LOSS |= {"kl": 0.05, "kl_clustered": 0.05, "kl_random": 0.05}


GRADIENT_QUALITY = {
    "groups": 3,
    "penalty": 30.0,
    "sizes_train": [10, 10, 10],
    "sizes_test": [5, 5, 5],
    "gains": [
        {"count": 2, "penalty": 10.0, "mean": 0.1, "error": 0.004},
        {"count": 3, "penalty": 30.0, "mean": 0.1975, "error": 0.003},
        {"count": 5, "penalty": 30.0, "mean": 0.2, "error": 0.004},
    ],
    "schemes": {
        "activation": {"mean": 0.15, "error": 0.002},
        "computation": {"mean": 0.25, "error": 0.002},
        "gradient_random": {"mean": -0.01, "error": 0.002},
    },
}


def make_plan(**changes: object) -> Plan:
    """The plan of the embedded run, with `changes`."""
    plan = {
        "methods": METHODS,
        "targets": TARGETS,
        "splits": ("train", "test"),
        "schemes": ("global", "activation", "task", "random"),
        "routers": {"embedding": "activation", "scores": "activation"},
        "baseline": "greedy",
        "bootstrap": 700,
        "settings": {
            "model": {"path": "data/reference/model", "revision": None},
            "cluster": {"algorithm": "kmeans", "count": 4},
        },
    }
    return Plan(**{**plan, **changes})  # type: ignore[arg-type]


def with_kl(**changes: object) -> Plan:
    """The same with a second configuration that has groups: `kl`, better than `greedy` by 0.15 at the sparsest
    target."""
    kl = [
        Method("kl", "kl", "global", "wina", "kl", "assigned", "threshold"),
        Method("kl_oracle", "kl_clustered", "activation", "wina", "kl", "assigned", "threshold"),
        Method("kl_embedding", "kl_clustered", "activation", "wina", "kl", "embedding", "threshold"),
        Method("kl_random", "kl_random", "random", "wina", "kl", "assigned", "threshold"),
    ]
    return make_plan(**{"methods": (*METHODS, *kl), **changes})


def with_draws(**changes: object) -> Plan:
    """The embedded run with three independent draws of random groups."""
    draws = [
        Method(name, name, name, "wina", "greedy", "assigned", "threshold") for name in ACTIVATION_RANDOM_SCHEMES[1:]
    ]
    schemes = ("global", "activation", "task", *ACTIVATION_RANDOM_SCHEMES)
    return make_plan(**{"methods": (*METHODS, *draws), "schemes": schemes, **changes})


def make_evidence(
    train: int = 20, test: int = 30, gain: float = 0.05, purity: float = 0.85, seed: int = 0, plan: Plan | None = None
) -> Evidence:
    """Tables for `train` + `test` samples per task; `purity` is the fraction of samples whose cluster follows the
    template.
    """
    plan, rng = plan or make_plan(), np.random.default_rng(seed)
    samples = _samples(train, test, rng)
    template = samples["template"].map({name: i for i, name in enumerate(TEMPLATES)}).to_numpy()
    clusters = np.where(rng.random(len(samples)) < purity, template, rng.integers(0, GROUPS, len(samples)))
    random = clusters.copy()
    for split in ("train", "test"):
        rows = np.flatnonzero(samples["split"] == split)
        random[rows] = rng.permutation(random[rows])
    other_draws = (*ACTIVATION_RANDOM_SCHEMES[1:], *GRADIENT_RANDOM_SCHEMES)
    draws = {  # from generators of their own, so that no other number depends on them
        name: np.random.default_rng([seed, number]).permutation(random) for number, name in enumerate(other_draws)
    }
    tasks = samples["task"].astype("category").cat.codes.to_numpy()
    groups = {
        "global": np.zeros(len(samples), int),
        "activation": clusters,
        "gradient": (clusters + 1) % GROUPS,
        "task": tasks,
    }
    groups |= {"random": random, **draws}
    routes = {
        name: np.where(rng.random(len(samples)) < ERROR_RATES.get(name, 0.1), (clusters + 1) % GROUPS, clusters)
        for name in plan.routers
    }
    routes |= {name: np.where(np.arange(len(samples)) % 5 == 0, GROUPS, clusters) for name in plan.benefit_routers}
    return Evidence(
        samples=samples,
        sample_counts=make_counts(samples),
        assignments={name: _assignments(name, groups[name], samples, rng) for name in plan.schemes},
        variants=_variants(samples, clusters),
        cluster_map=_map(samples, clusters, rng),
        quality=make_quality(clusters),
        gradient=GRADIENT_QUALITY if "gradient" in plan.schemes else {},
        routes={name: _routes(name, routes[name], samples) for name in routes},
        held_out={name: _held_out(routes[name], samples) for name in routes},
        benefits={name: _benefits(clusters, samples) for name in plan.benefit_routers},
        costs={m.profile: _costs(m, groups[m.scheme]) for m in plan.methods if not m.is_dense},
        profiles={m.profile: _profiles(m, groups[m.scheme], rng) for m in plan.methods if not m.is_dense},
        results={m.name: _results(m, plan, samples, groups, routes, gain, rng) for m in plan.methods},
        timings=TIMINGS.arrow_schema.empty_table().to_pandas(),
        latency_facts={"reason": "the weights fit in the cache", "skipped": {}},
    )


def as_text(evidence: Evidence, tasks: list[str]) -> Evidence:
    """The same evidence with these tasks' samples being text: of 1 to 40 scored tokens, worse the sparser."""
    rng = np.random.default_rng(3)
    samples = evidence.samples.copy()
    is_text = samples["task"].isin(tasks).to_numpy()
    lengths = rng.integers(1, 40, len(samples))
    samples["kind"] = np.where(is_text, "text", samples["kind"])
    samples["answer_ids"] = [[7] * int(n) if text else [3] for n, text in zip(lengths, is_text, strict=True)]
    cost = dict(zip(samples["sample_id"], lengths * rng.uniform(1, 4, len(samples)), strict=True))
    text_ids = set(samples["sample_id"][is_text])
    results = {}
    for name, table in evidence.results.items():
        rows = table["sample_id"].isin(text_ids).to_numpy()
        worse = 1 + table["target"] ** 2 * (1.5 if name == "teal" else 1.0)
        results[name] = table.assign(
            score=np.where(rows, np.nan, table["score"]),
            correct=table["correct"] & ~rows,
            loglikelihood=np.where(rows, -table["sample_id"].map(cost) * worse, table["loglikelihood"]),
        )
    return replace(evidence, samples=samples, results=results)


def with_limits(plan: Plan, evidence: Evidence) -> Evidence:
    """Only primary methods, at their targets, and dense have more than the first samples."""
    first = set(evidence.samples["sample_id"][among_first(evidence.samples, plan.limits)])
    results = {}
    for name, rows in evidence.results.items():
        is_more = rows["target"].isin(plan.primary_targets) if name in plan.primary else name == plan.dense.name
        results[name] = rows[rows["sample_id"].isin(first) | is_more]
    return replace(evidence, results=results)


def make_counts(samples: pd.DataFrame, **changes: int) -> pd.DataFrame:
    """data/sample_counts.parquet: every task gave what was asked for, but for `changes`."""
    taken = samples.groupby(["task", "split"], as_index=False).size().rename(columns={"size": "taken"})
    return taken.assign(wanted=taken["taken"], too_long=0, in_both_splits=0, contradicting=0).assign(**changes)


def make_quality(clusters: np.ndarray) -> dict[str, object]:
    """data/cluster_quality.json"""
    sizes = np.bincount(clusters, minlength=GROUPS)
    return {
        "algorithm": "kmeans", "groups": GROUPS, "components": 32,
        "sizes_train": sizes.tolist(), "sizes_test": sizes.tolist(),
        "noise_train": 0, "silhouette": 0.21, "stability": 0.83, "inertia": 1234.5,
        "variants": {
            **{f"block {block}": {"groups": GROUPS, "silhouette": 0.2, "stability": 0.7} for block in range(BLOCKS)},
            "length_removed": {"groups": GROUPS, "silhouette": 0.2, "stability": None},
        },
    }  # fmt: skip


def _samples(train: int, test: int, rng: np.random.Generator) -> pd.DataFrame:
    tasks = [*COMPUTATIONS, "addition_free", "reversal_free", "sorting_free", "translation_free"]
    rows = []
    for task in tasks:
        for split, count in (("train", train), ("test", test)):
            for doc in range(count):
                template, shots = TEMPLATES[doc % 4], doc // 4 % 4
                kind = "generation" if task.endswith("_free") else "choice"
                rows.append(
                    {
                        "sample_id": f"{task}/{split}/{doc}", "task": task, "split": split, "doc_id": doc,
                        "doc_hash": f"{task}{split}{doc}", "kind": kind, "subject": "",
                        "computation": task.removesuffix("_free"), "template": template, "shots": shots,
                        "prompt": "p", "choices": [] if kind == "generation" else ["a", "b", "c", "d"],
                        "target": -1 if kind == "generation" else 0, "answer": "a",
                        "prompt_ids": [1, 2], "answer_ids": [3], "n_tokens": int(12 + 14 * shots + rng.integers(0, 9)),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows).sort_values("sample_id").reset_index(drop=True)


def _assignments(scheme: str, groups: np.ndarray, samples: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    distance = rng.random(len(samples)) if scheme == "activation" else 0.0
    frame = samples[["sample_id", "split"]].assign(scheme=scheme, group=groups, distance=distance)
    return frame[["scheme", "sample_id", "split", "group", "distance"]]


def _variants(samples: pd.DataFrame, clusters: np.ndarray) -> pd.DataFrame:
    """A block's groups are the learned ones for more samples the deeper it is; without length, for all samples."""
    rng = np.random.default_rng(7)
    fractions = {("block", block): block / (BLOCKS - 1) for block in range(BLOCKS)} | {("length_removed", -1): 1.0}
    frames = [
        samples[["sample_id"]].assign(
            variant=kind,
            block=block,
            group=np.where(rng.random(len(samples)) < fraction, clusters, rng.integers(0, GROUPS, len(samples))),
        )
        for (kind, block), fraction in fractions.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _map(samples: pd.DataFrame, clusters: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    centres = np.array([[0, 0], [7, 1], [1.5, 6], [8, 7]])
    shift = 0.5 * samples["shots"].to_numpy()[:, None] * np.array([[1.0, -0.4]])
    xy = centres[clusters] + shift + rng.normal(0, 0.8, (len(samples), 2))
    return pd.DataFrame({"sample_id": samples["sample_id"], "x": xy[:, 0], "y": xy[:, 1]})


def _routes(router: str, groups: np.ndarray, samples: pd.DataFrame) -> pd.DataFrame:
    probabilities = list(np.eye(int(groups.max()) + 1, dtype=np.float32)[groups])
    frame = pd.DataFrame({"router": router, "sample_id": samples["sample_id"], "group": groups})
    return frame.assign(probabilities=probabilities, flops=ROUTER_FLOPS.get(router, 900.0))


def _held_out(groups: np.ndarray, samples: pd.DataFrame) -> pd.DataFrame:
    """Routers that were fitted without a task name the wrong group for `sorting`, and are otherwise the same."""
    test = (samples["split"] == "test").to_numpy()
    without_task = np.where(samples["task"] == "sorting", (groups + 1) % GROUPS, groups)
    frames = [
        pd.DataFrame({"label": label, "sample_id": samples["sample_id"][test], "group": named[test]})
        for label, named in (("template", groups), ("task", without_task))
    ]
    return pd.concat(frames, ignore_index=True)


def _benefits(clusters: np.ndarray, samples: pd.DataFrame) -> pd.DataFrame:
    """The benefit is 0.3 of a sample's own profile and -0.2 of any other; every second test sample was measured."""
    benefits = np.where(np.arange(GROUPS) == clusters[:, None], 0.3, -0.2)
    known = (samples["split"] == "train").to_numpy() | (np.arange(len(samples)) % 2 == 0)
    return samples[["sample_id", "split"]].assign(benefits=list(benefits))[known]


def _profiles(method: Method, groups: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    spread = 0.0 if method.allocation == "uniform" else 0.12
    base = rng.normal(0, spread, (BLOCKS, len(PROJECTIONS)))
    rows = []
    for group in range(int(groups.max()) + 1):
        own = base if method.scheme == "global" else base + rng.normal(0, 0.05, base.shape)
        for target in _targets(method, TARGETS):
            for block in range(BLOCKS):
                for i, projection in enumerate(PROJECTIONS):
                    sparsity = float(np.clip(target + own[block, i], 0, 1))
                    rows.append((method.profile, group, target, block, projection, sparsity, 0.1 * sparsity))
    return pd.DataFrame(rows, columns=["profile", "group", "target", "block", "projection", "sparsity", "threshold"])


def _costs(method: Method, groups: np.ndarray) -> pd.DataFrame:
    rows, unit = range(int(groups.max()) + 1), COSTS.get(method.allocation, 0)
    spent = {"tokens": 1e3 * unit, "evaluations": 100 * unit}
    return pd.DataFrame([{"profile": method.profile, "group": group, **spent} for group in rows])


def _results(
    method: Method,
    plan: Plan,
    samples: pd.DataFrame,
    groups: dict[str, np.ndarray],
    routes: dict[str, np.ndarray],
    gain: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    count, tokens = len(samples), samples["n_tokens"].to_numpy()
    shared = np.random.default_rng(99)  # the same difficulty for every method: comparisons are paired
    difficulty, dense_accuracy = shared.random(count), 0.86 + 0.12 * shared.random(count)
    group = groups.get(method.scheme, np.zeros(count, int)) if not method.is_routed else routes[method.groups]
    is_better = method.profile == "clustered"
    frames = []
    for target in (0.0,) if method.is_dense else _targets(method, plan.targets):
        loss = 0.0 if method.is_dense else LOSS.get(method.profile, 0.2) * (target / 0.65) ** 3
        bonus = gain * (target / 0.65) ** 2 * (group == groups["activation"]) if is_better else 0.0
        chance = np.clip(dense_accuracy - loss + bonus, 0, 1)
        correct = np.abs(difficulty + rng.normal(0, 0.03, count)) < chance
        sparsity = np.zeros(count) if method.is_dense else np.clip(target + rng.normal(-0.01, 0.02, count), 0, 1)
        flops = DENSE_FLOPS_PER_TOKEN * tokens
        router = ROUTER_FLOPS.get(method.groups, 900.0) * 1.0 if method.is_routed else 0.0
        # The masks of a sample depend on its group only, so routed and oracle FLOPs agree where the groups do.
        own = np.clip(target - 0.01 + 0.002 * group, 0, 1) if not method.is_dense else 0.0
        frames.append(
            pd.DataFrame(
                {
                    "method": method.name,
                    "target": float(target),
                    "split": samples["split"],
                    "sample_id": samples["sample_id"],
                    "group": group,
                    "score": correct.astype(float),
                    "correct": correct,
                    "loglikelihood": -0.3,
                    "margin": 0.4,
                    "realised_sparsity": sparsity,
                    "sparsity_by_block": [np.full(2, value, np.float32) for value in sparsity],
                    "flops": flops * (1 - 0.88 * own) + router,
                    "dense_flops": flops,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _targets(method: Method, targets: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(target for target in targets if target <= REACH) if method.is_limited else targets
