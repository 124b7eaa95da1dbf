"""params.yaml is read completely, and every mistake in it is named with its place and a remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.config import params
from pipeline.config.params import load
from tests.settings import full, full_text
from wina_amp.errors import UserError

COMMITTED = Path(__file__).resolve().parents[3] / params.PARAMS


def with_change(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of params.yaml with the preset `full`, changed."""
    yaml = YAML(typ="safe")
    values = yaml.load(full_text())
    change(values)
    path = tmp_path / "params.yaml"
    yaml.dump(values, path)
    return path


def put(section: str, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda values: values[section].__setitem__(key, value)


def benefit_routers(named: object, **route: object) -> Callable[[dict[str, Any]], object]:
    return lambda values: values["route"].update(benefit_routers=named, **route)


def routers(named: object) -> Callable[[dict[str, Any]], object]:
    return lambda values: values["route"].update(routers=named)


def test_the_committed_file_is_valid_and_every_value_arrives():
    written = YAML(typ="safe").load(COMMITTED)
    read = asdict(load(COMMITTED))
    assert written.keys() == {field.name for field in fields(params.Settings)}
    assert {profile.pop("calibration") for profile in read["profiles"].values()} == {"masked"}, "unless it is given"
    for section in written:
        assert _with_lists(read[section]) == written[section]


def _with_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def test_methods_know_where_their_groups_come_from():
    methods = full().methods
    assert methods["wina"].groups == "assigned"
    assert methods["clustered_routed"].groups == "embedding"


def test_calibration_text_alone_needs_no_scheme_of_tasks(tmp_path: Path):
    def change(values: dict[str, Any]) -> None:
        values["benchmark"]["calibration"] = ["alpaca"]
        for section in ("profiles", "methods"):
            del values[section]["task"]
        values["schemes"].remove("task")

    assert load(with_change(tmp_path, change)).benchmark.calibration == ("alpaca",)
    assert load(COMMITTED).benchmark.calibration is None


def test_a_benefit_router_gives_groups_to_methods_of_its_own_profile_set_whatever_the_scheme(tmp_path: Path):
    def change(values: dict[str, Any]) -> None:
        values["profiles"]["task"] = values["profiles"]["kl_random"] | {"scheme": "task"}
        benefit_routers({"benefit": "task"})(values)
        del values["methods"]["kl_gradient_benefit"]
        values["methods"]["task"]["groups_from"] = "routes/benefit"

    settings = load(with_change(tmp_path, change))
    assert settings.route.benefit_routers == {"benefit": "task"} and settings.methods["task"].groups == "benefit"


def test_without_primary_methods_every_method_may_be_evaluated_on_all_test_samples(tmp_path: Path):
    change = lambda values: values["evaluate"].update(test_samples=None, primary=None)  # noqa: E731
    evaluate = load(with_change(tmp_path, change)).evaluate
    assert evaluate.primary is None and evaluate.limits == {"train": 4, "test": None}


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        load(COMMITTED).cluster.count = 3  # type: ignore[misc]


def test_a_changed_copy_is_checked_like_the_file():
    cluster = load(COMMITTED).cluster
    assert replace(cluster, count=3).count == 3
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        replace(cluster, count=1)


def test_reading_settings_imports_no_library_of_numbers():
    code = "import sys; from pipeline.config import params; params.load(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=COMMITTED.parent, capture_output=True, text=True, check=True
    )
    assert not {"torch", "pandas", "pyarrow", "numpy"} & set(done.stdout.split())


def test_the_histogram_resolution_limit_is_that_of_the_histogram():
    from wina_amp.histograms.bins import MOST_MANTISSA_BITS

    capture = load(COMMITTED).capture
    assert replace(capture, mantissa_bits=MOST_MANTISSA_BITS)
    with pytest.raises(ValueError, match="mantissa_bits"):
        replace(capture, mantissa_bits=MOST_MANTISSA_BITS + 1)


METHOD = {"profile": "wina", "groups_from": "assignments/global", "mask": "threshold"}
WRONG = [
    (
        put("export", "methods", ["klm"]),
        r"method must be one of .* Found: 'klm'.*`export\.methods`.* did you mean 'kl'",
    ),
    (put("export", "methods", ["dense"]), r"method must be one of .* Found: 'dense'"),
    (
        put("export", "methods", ["kl", "task"]),
        r"`export\.methods` must be methods that can run on new prompts\. Found: task: its groups are read from",
    ),
    (
        lambda values: (values["methods"]["kl"].update(mask="topk"), values["export"].update(methods=["kl"])),
        r"can run on new prompts\. Found: kl: `mask: topk` ranks the features .* list a pooled method or one whose",
    ),
    (put("latency", "methods", ["wnia"]), r"method must be one of .* Found: 'wnia'.*`latency\.methods`.* mean 'wina'"),
    (put("latency", "batches", [1, 9]), r"`latency\.batches\[1\]` must be a whole number at least 1 and at most 8"),
    (
        put("latency", "cache_mb", 0),
        r"`latency\.cache_mb` must be a number above 0 and at most 100000 or null",
    ),
    (put("cluster", "count", 1), r"`cluster\.count` must be a whole number at least 2 and .* Found: 1"),
    (
        put("cluster", "count", 2.5),
        r"`cluster\.count` must be a whole number at least 2 and .* Found: 2\.5",
    ),
    (
        put("cluster", "count", None),
        r"`cluster\.count` must be a whole number at least 2 and .* Found: None",
    ),
    (put("cluster", "cuont", 4), r"setting in `cluster` must be one of .* Found: 'cuont'.* did you mean 'count'"),
    (lambda values: values["cluster"].pop("count"), r"Section `cluster` must have the settings .* Found: no count"),
    (lambda values: values.pop("cluster"), r"must have the sections .* Found: no cluster"),
    (
        lambda values: values.update(clusters={}),
        r"section must be one of .* 'clusters'.* did you mean 'cluster'",
    ),
    (lambda values: values.update(cluster=[4]), r"`cluster` must be a section of `key: value` settings"),
    (put("cluster", "algorithm", "kmean"), r"`cluster\.algorithm`.* Found: 'kmean'.* did you mean 'kmeans'"),
    (put("model", "dtype", "fp16"), r"`model\.dtype` must be one of bfloat16, float16, float32"),
    (put("model", "transform", "ortogonal"), r"`model\.transform` must be one of none, orthogonal.* mean 'orthogonal'"),
    (put("evaluate", "targets", [0.4, 1.0]), r"`evaluate\.targets\[1\]` must be a number above 0 and below 1"),
    (put("evaluate", "targets", [0.4, 0.4]), r"`evaluate\.targets` must name every entry once\. Found: 0\.4 repeated"),
    (
        put("evaluate", "targets", []),
        r"must be a list of numbers above 0 and below 1 with at least 1 entry\. Found: \[\]",
    ),
    (put("evaluate", "targets", 0.5), r"`evaluate\.targets` must be a list"),
    (put("evaluate", "splits", ["train", "dev"]), r"`evaluate\.splits\[1\]` must be one of confirmation, test, train"),
    (
        put("tokens", "dense_prefix", 1.5),
        r"a whole number at least 0 and at most 1000000 or a number at least 0 and below 1\. Found: 1\.5",
    ),
    (put("capture", "criteria", ["wina", "winna"]), r"`capture\.criteria\[1\]`.* Found: 'winna'.* mean 'wina'"),
    (
        put("capture", "criteria", ["wina", "learned"]),
        r"must be one of learned, wina\. Found: 'teal'.*`profiles\.teal\.criterion`",
    ),
    (
        lambda values: (
            values["capture"].update(criteria=["teal", "wina", "learned", "cats"]),
            values["profiles"].update(
                new={
                    "scheme": "global",
                    "criterion": "cats",
                    "allocation": "greedy",
                    "starts_from": "group_histograms/global",
                }
            ),
        ),
        r"needs a criterion with several masks.*cats, which has one.*`profiles\.new` in .*use `allocation: uniform`",
    ),
    (lambda values: values["schemes"].remove("task"), r"scheme must be one of .*`profiles\.task\.scheme`"),
    (
        lambda values: values["profiles"]["clustered"].update(scheme="random3"),
        r"`profiles\.clustered\.scheme`.* Found: 'random3'",
    ),
    (
        lambda values: values["profiles"]["clustered"].update(scheme="template"),
        r"scheme must be one of .* Found: 'template'.*`profiles\.clustered\.scheme`",  # known, not in `schemes`
    ),
    (
        lambda values: values["profiles"]["greedy_clustered"].update(starts_from="group_histograms/activation"),
        r"start must be one of allocations/greedy, allocations/kl, .*`profiles\.greedy_clustered\.starts_from`",
    ),
    (
        benefit_routers({"benefit": "greedy_clustered"}),  # has no pooled profile as its last group
        r"needs a profile set that starts from a pooled one, which it can leave a prompt to",
    ),
    (put("methods", "new", METHOD | {"profile": "wna"}), r"`methods\.new\.profile`"),
    (
        put("methods", "new", METHOD | {"groups_from": "routes/embedding"}),
        r"must be one of assignments/global\. Found: 'routes/embedding'.*`methods\.new\.groups_from`",
    ),
    (
        put("methods", "new", METHOD | {"profile": "clustered", "groups_from": "routes/embeding"}),
        r"Found: 'routes/embeding'.* did you mean 'routes/embedding'",
    ),
    (put("methods", "dense", METHOD), r"`dense` must not be listed"),
    (
        put("methods", "new", METHOD | {"mask": "top-k"}),
        r"`methods\.new\.mask` must be one of prompt, threshold, topk.*'top-k'",
    ),
    (
        put("methods", "new", METHOD | {"mask": None}),
        r"`methods\.new\.mask` must be one of threshold, topk, prompt\. Found: None",
    ),
    (
        put("methods", "new", {"profile": "wina", "groups_from": "assignments/global"}),
        r"Section `methods\.new` must have the settings profile, groups_from, mask\. Found: no mask",
    ),
    (put("benchmark", "limits", {"adition": 3}), r"task .*adition.*`benchmark\.limits`"),
    (put("benchmark", "limits", {"addition": 0}), r"`benchmark\.limits"),
    (put("benchmark", "too_long", "leave"), r"`benchmark\.too_long` must be one of leave_out, refuse.* 'leave_out'"),
    (put("benchmark", "chat_template", "yes"), r"`benchmark\.chat_template` must be true or false\. Found: 'yes'"),
    (
        put("benchmark", "chat_date", "26 Jul 2024"),
        r"`benchmark\.chat_date` must be text a date in quotes: \"2024-07-26\"\. Found: '26 Jul 2024'",
    ),
    (put("benchmark", "chat_date", date(2024, 7, 26)), r"a date in quotes.*Found: datetime\.date\(2024, 7, 26\)"),
    (
        put("benchmark", "num_fewshot", -1),
        r"must be a whole number at least 0 and at most 1000 or null\. Found: -1",
    ),
    (put("benchmark", "text_scored", 0), r"`benchmark\.text_scored` must be a whole number at least 1"),
    (put("benchmark", "calibration", "alpaca"), r"`benchmark\.calibration` must be a list of text"),
    (put("benchmark", "calibration", []), r"`benchmark\.calibration` must be a list of text with at least 1 entry"),
    (put("benchmark", "tasks", None), r"`benchmark\.tasks` must be a list of text"),
    (
        put("benchmark", "calibration", ["addition", "alpaca"]),
        r"scheme `task` needs every task.*Found: no subtraction, comparison, sorting \(13 of 14 tasks\)",
    ),
    (routers({}), r"table of groups must be one of .*routes/"),
    (
        routers({"one": {"reads": "scores", "groups_from": "assignments/task"}}),
        r"table of learned groups must be one of assignments/activation, assignments/gradient\. Found: 'assignm",
    ),
    (
        routers({"one": {"reads": "tokens", "groups_from": "assignments/activation"}}),
        r"`route\.routers\.one\.reads` must be one of embedding, neighbours, scores\. Found: 'tokens'",
    ),
    (routers({"one": {"reads": "scores"}}), r"`route\.routers\.one` must have the settings reads, groups_from"),
    (put("gradient", "pooled", ["greedy"]), r"pooled `kl` profile set must be one of kl, kl_learned\. Found: 'greedy'"),
    (
        put("gradient", "pooled", ["kl_learned", "wina"]),
        r"`gradient\.pooled` must be a list of text with at most 1 entry",
    ),
    (put("gradient", "pooled", "kl"), r"`gradient\.pooled` must be a list of text"),
    (
        put("gradient", "pooled", []),
        r"needs a pooled allocation, whose gradients are taken\. Found: gradient, gradient_random",
    ),
    (put("gradient", "targets", [0.7, 0.71]), r"`gradient\.targets` must be among `evaluate\.targets`\. Found: 0\.71"),
    (put("gradient", "counts", [1, 2]), r"`gradient\.counts\[0\]` must be a whole number at least 2"),
    (
        benefit_routers({"benefit": "clusterd"}),
        r"profile set must be one of .*`route\.benefit_routers\.benefit`.* did you mean 'clustered'",
    ),
    (
        benefit_routers({"benefit": "kl"}),
        r"A benefit router must have groups to choose from\. Found: kl, which has the scheme global",
    ),
    (
        benefit_routers({"scores": "task"}),
        r"must not have the name of another router \(embedding, gradient, .*\)\. Found: scores",
    ),
    (benefit_routers({"benefit": 3}), r"`route\.benefit_routers\.benefit` must be text\. Found: 3"),
    (benefit_routers(["task"]), r"`route\.benefit_routers` must be a section of `key: value` settings"),
    (
        benefit_routers({"benefit": "kl_gradient"}, benefit_targets=[0.65, 0.66]),
        r"`route\.benefit_targets` must be among `evaluate\.targets`\. Found: 0\.66",
    ),
    (
        benefit_routers({"benefit": "kl_random"}),  # while a method of another profile set takes its groups from it
        r"one of assignments/gradient, .* Found: 'routes/benefit'.*`methods\.kl_gradient_benefit\.groups_from",
    ),
    (
        put("evaluate", "test_samples", 0),
        r"`evaluate\.test_samples` must be a whole number at least 1 and at most 10000000 or null",
    ),
    (put("evaluate", "test_samples", None), r"`evaluate\.primary` needs `evaluate\.test_samples`.* set it to null"),
    (put("evaluate", "splits", ["train"]), r"The report needs the test split\. Found: train\..*`evaluate\.splits`"),
    (
        put("report", "baseline", "clustered_routed"),
        r"must be a pooled method\. Found: clustered_routed, of scheme",
    ),
    (
        lambda values: values["profiles"]["task"].update(starts_from="allocations/kl"),  # of another allocation
        r"start must be one of .*allocations/greedy.* Found: 'allocations/kl'.*`profiles\.task\.starts_from`",
    ),
    (
        lambda values: values["profiles"]["greedy"].update(starts_from="allocations/greedy"),
        r"start must be one of group_histograms/global\. Found: 'allocations/greedy'",
    ),
    (
        lambda values: (
            values["profiles"]["task"].update(starts_from="group_histograms/task"),
            benefit_routers({"benefit": "task"})(values),
        ),
        r"needs a profile set that starts from a pooled one.* Found: task, .*which starts from group_histograms/task",
    ),
    (put("evaluate", "primary", ["kl"]), r"`evaluate\.primary` must be a section of `key: value` settings"),
    (
        put("evaluate", "primary", {"methods": ["kl"]}),
        r"Section `evaluate\.primary` must have the settings methods, targets\. Found: no targets",
    ),
    (
        put("evaluate", "primary", {"methods": ["kl"], "targets": [0.65, 1.5]}),
        r"`evaluate\.primary\.targets\[1\]` must be a number above 0 and below 1",
    ),
    (
        put("evaluate", "primary", {"methods": ["kl"], "targets": [0.65, 0.66]}),
        r"`evaluate\.primary\.targets` must be among `evaluate\.targets`\. Found: 0\.66",
    ),
    (
        put("evaluate", "primary", {"methods": ["kl_radnom", "kl"], "targets": [0.65]}),
        r"method must be one of .*`evaluate\.primary\.methods`.* did you mean 'kl_random'",
    ),
    (put("evaluate", "primary", {"methods": ["dense"], "targets": [0.65]}), r"method must be one of .*'dense'"),
    (
        put("evaluate", "primary", {"methods": ["kl_random"], "targets": [0.65]}),
        r"`evaluate\.primary\.methods` must have a pooled method.* Found: kl_random",
    ),
    (
        lambda values: (
            values["capture"]["criteria"].append("cats"),
            values["profiles"].update(cats=values["profiles"]["teal"] | {"criterion": "cats"}),
            values["methods"].update(cats=METHOD | {"profile": "cats"}),
            values["evaluate"]["primary"]["methods"].append("cats"),
        ),
        r"`evaluate\.primary\.methods` must reach every target.*Found: cats, whose masks reach only a part",
    ),
    (put("report", "baseline", "greed"), r"`report\.baseline`.* did you mean 'greedy'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_mistake_is_named_with_its_place_and_a_remedy(tmp_path: Path, change, message: str):
    with pytest.raises(UserError, match=message) as caught:
        load(with_change(tmp_path, change))
    assert "params.yaml" in caught.value.where and caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="settings file must exist"):
        load(tmp_path / "params.yaml")
