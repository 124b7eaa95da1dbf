"""`wina_amp.profile_set.sparsity`: a profile set on a live model, switched, watched and taken off without a trace."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForSequenceClassification, PreTrainedModel

from tests.wina_amp.allocation.blocks import random_model
from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set import identity
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

IDS = torch.tensor([[5, 9, 30, 41, 7]])
GREEDY = {"min_new_tokens": 6, "max_new_tokens": 6, "do_sample": False}


@pytest.fixture
def model(tiny_loaded: LoadedModel) -> PreTrainedModel:
    """A model that a test may change."""
    return copy.deepcopy(tiny_loaded.model)


def _state(model: PreTrainedModel) -> list[object]:
    """Every attribute of every module; parameters, buffers, hooks and submodules by identity."""
    return [
        {
            name: {key: id(inner) for key, inner in value.items()} if isinstance(value, dict) else value
            for name, value in vars(module).items()
        }
        for module in model.modules()
    ]


def test_the_model_is_what_it_was_once_the_set_is_removed_and_after_an_error(model: PreTrainedModel):
    made = profile_set(LoadedModel(model, None, model.device, None), "scores")
    before, dense = _state(model), model(input_ids=IDS).logits
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    sparsity = sparsify_(model, made)
    assert sparsity.groups is None
    assert not torch.equal(model.generate(IDS, **GREEDY), model(input_ids=IDS).logits)
    assert sparsity.groups.shape == (1,) and _state(model) != before
    sparsity.remove()
    sparsity.remove()
    assert _state(model) == before
    with pytest.raises(KeyError), sparsify_(model, made):
        raise KeyError
    assert _state(model) == before
    with pytest.raises(UserError, match="backend must be one of"):
        sparsify_(model, made, backend="cuda")
    assert _state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(input_ids=IDS).logits, dense)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 0.3}, r"must be one that the profile set has: 0\.25, 0\.5\. Found: 0\.3\. Where: .* made_up"),
        ({"backend": "cuda"}, "backend must be one of auto, numba, reference, triton"),
        ({"weights": "int4"}, "weights must be one of bfloat16, copy, replace"),
        ({"prefill": "spares"}, "prefill must be one of dense, sparse.*did you mean 'sparse'"),
        ({"check": "weight"}, "check must be one of none, shapes, weights.*did you mean 'weights'"),
        ({"group": 2}, r"group must be one of 0, 1, group 0, group 1\. Found: 2"),
        ({"group": -1}, r"group must be one of 0, 1, group 0, group 1\. Found: -1"),
        ({"group": True}, r"group must be one of .* Found: True"),
        ({"sparsity": "0.5"}, r"0\.25, 0\.5\. Found: 0\.5\. Where: .* made_up"),
        ({"group": "group 2"}, r"group must be one of group 0, group 1\. Found: 'group 2'"),
        ({"cuda_graph": True}, r"on a CUDA device only\. Found: a model on cpu"),
    ],
)
def test_an_unknown_option_is_refused(tiny_loaded: LoadedModel, options: dict[str, object], message: str):
    with pytest.raises(UserError, match=message):
        sparsify_(tiny_loaded, profile_set(tiny_loaded), **options)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(lambda model: model.model, id="the decoder"),
        pytest.param(lambda model: torch.nn.Sequential(model), id="a wrapper"),
        pytest.param(lambda model: "folder", id="a path"),
        pytest.param(lambda model: LlamaForSequenceClassification(model.config), id="a classifier"),
    ],
)
def test_what_is_no_language_model_is_refused(tiny_loaded: LoadedModel, part):
    with pytest.raises(UserError, match=r"model of transformers itself, one that generates.*AutoModelForCausalLM"):
        sparsify_(part(tiny_loaded.model), profile_set(tiny_loaded))
    with pytest.raises(UserError, match=r"must be a profile set\. Found: str.*from_pretrained"):
        sparsify_(tiny_loaded.model, "data/profile_sets/kl")


def test_a_method_that_was_kept_is_the_models_own_after_removal(tiny_loaded: LoadedModel):
    wanted = tiny_loaded.model(IDS).logits
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)):
        forward = tiny_loaded.model.forward
        assert not torch.equal(forward(IDS).logits, wanted)
    assert torch.equal(forward(IDS).logits, wanted)


def test_a_second_set_on_a_model_is_refused(tiny_loaded: LoadedModel):
    made = profile_set(tiny_loaded)
    with sparsify_(tiny_loaded, made), pytest.raises(UserError, match=r"one profile set .* Found: a second one"):
        sparsify_(tiny_loaded, made, sparsity=0.25)


def test_a_model_that_the_set_was_not_made_for_is_refused(tiny_loaded: LoadedModel):
    made = profile_set(tiny_loaded)
    torch.manual_seed(1)
    another = AutoModelForCausalLM.from_config(tiny_loaded.model.config).eval()
    for model, message in (
        (random_model("qwen3").model, r"made for: llama of 2 blocks .* Found: qwen3 of 2 blocks"),
        (another, r"must have the weights that the profile set was made for, up to 1%"),
    ):
        with pytest.raises(UserError, match=message):
            sparsify_(model, made)
        assert "generate" not in vars(model)
    for check in ("shapes", "none"):
        with sparsify_(another, made, check=check):
            assert another.generate(IDS, **GREEDY).shape == (1, 11)


def test_the_weights_of_a_model_are_read_once_until_they_change(
    model: PreTrainedModel, tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    made, read, own = profile_set(tiny_loaded), [], identity.sketch
    monkeypatch.setattr(identity, "sketch", lambda model: read.append(model) or own(model))
    for _ in range(3):
        sparsify_(model, made).remove()
    assert read == [model]
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.normal_(generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="must have the weights"):
        sparsify_(model, made)
    assert read == [model, model]


def _tokens(model: PreTrainedModel) -> list[int]:
    return model.generate(IDS, **GREEDY)[0].tolist()


def test_another_target_is_that_of_a_set_of_its_own(tiny_loaded: LoadedModel):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    made = replace(made, thresholds=made.thresholds * torch.tensor([1.0, 3.0])[:, None, None, None])
    logits = {}
    for target in made.description.targets:
        with sparsify_(model, made, sparsity=target):
            logits[target] = model(IDS).logits
    assert not torch.equal(*logits.values())
    with sparsify_(model, made, sparsity=0.25) as sparsity:
        for target in (0.5, 0.25, 0.5):
            sparsity.sparsity = target
            assert sparsity.sparsity == target and torch.equal(model(IDS).logits, logits[target])
        with pytest.raises(UserError, match=r"0\.25, 0\.5\. Found: 0\.4"):
            sparsity.sparsity = 0.4
        assert sparsity.sparsity == 0.5 and torch.equal(model(IDS).logits, logits[0.5])


@pytest.mark.parametrize("group", [0, 1, "group 1"])
def test_a_fixed_group_is_that_of_a_set_without_a_router(tiny_loaded: LoadedModel, group: int | str):
    made = profile_set(tiny_loaded)
    number = int(str(group)[-1])
    only = replace(made.description, groups=made.description.groups[number : number + 1], router=None)
    alone = replace(made, description=only, thresholds=made.thresholds[:, number : number + 1], router=None)
    with sparsify_(tiny_loaded, alone):
        wanted = tiny_loaded.model(IDS).logits
    with sparsify_(tiny_loaded, made, group=group) as sparsity:
        assert torch.equal(tiny_loaded.model(IDS).logits, wanted) and sparsity.groups.tolist() == [number]


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_warming_up_builds_what_the_first_call_would(tiny_loaded: LoadedModel, backend: str):
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), backend=backend):
        wanted = _tokens(tiny_loaded.model)
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), backend=backend) as sparsity:
        sparsity.warmup()
        assert all(backend in shared.built for shared in sparsity._decoding._shared_inputs)
        assert _tokens(tiny_loaded.model) == wanted


def test_realised_sparsity_is_that_of_the_last_call_and_counts_where_asked(tiny_loaded: LoadedModel):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    nothing, everything = (replace(made, thresholds=made.thresholds * 0 + value) for value in (0.0, 1e9))
    for each, realised in ((nothing, 0.0), (everything, 1.0)):
        with sparsify_(model, each, measure=True) as sparsity:
            assert sparsity.realised_sparsity is None
            model.generate(IDS, **GREEDY)
            assert sparsity.realised_sparsity == realised
            model(IDS[:, :2])
            assert sparsity.realised_sparsity is None, "two tokens are all in the dense prefix"
    with sparsify_(model, made, measure=True) as sparsity:
        measured, realised = _tokens(model), sparsity.realised_sparsity
        assert 0 < realised < 1
        sparsity.sparsity = 0.25
        model.generate(IDS, **GREEDY)
        assert sparsity.realised_sparsity < realised
    with sparsify_(model, made) as sparsity:
        assert _tokens(model) == measured and sparsity.realised_sparsity is None


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda model: copy.deepcopy(model.model.layers[0].mlp.up_proj), id="deepcopy of a projection"),
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(lambda model: torch.save(model, io.BytesIO()), id="torch.save of the model"),
    ],
)
def test_a_copy_of_a_sparse_model_is_refused(duplicate):
    loaded = random_model("llama")
    with sparsify_(loaded, profile_set(loaded)):
        with pytest.raises(UserError, match=r"must not be copied or pickled.*remove the profile set"):
            duplicate(loaded.model)
        assert loaded.model.state_dict().keys() == dict(loaded.model.named_parameters()).keys()
    duplicate(loaded.model)


def _up(model: PreTrainedModel) -> torch.nn.Linear:
    return model.model.layers[0].mlp.up_proj


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda model: model.to(torch.bfloat16), id="another dtype"),
        pytest.param(lambda model: model.to("meta"), id="another device"),
        pytest.param(lambda model: model.load_state_dict(model.state_dict()), id="loaded weights"),
        pytest.param(lambda model: _up(model).weight.add_(1), id="a merged adapter"),
        pytest.param(
            lambda model: setattr(_up(model), "weight", torch.nn.Parameter(torch.zeros(48, 32))), id="another parameter"
        ),
        pytest.param(lambda model: model.train(), id="train mode"),
    ],
)
@pytest.mark.parametrize("call", ["generate", "forward"])
def test_a_model_that_changed_under_its_profile_set_is_refused(
    tiny_loaded: LoadedModel, model: PreTrainedModel, change, call: str
):
    options = GREEDY if call == "generate" else {}
    with sparsify_(model, profile_set(tiny_loaded)):
        getattr(model, call)(IDS, **options)
        with torch.no_grad():
            change(model)
        with pytest.raises(UserError, match=r"must (keep its weights|be in eval mode)"):
            getattr(model, call)(IDS, **options)


def test_an_lm_head_that_changed_is_refused_where_it_was_copied(tiny_loaded: LoadedModel, model: PreTrainedModel):
    for weights in ("copy", "bfloat16"):
        with sparsify_(model, profile_set(tiny_loaded), weights=weights):
            with torch.no_grad():
                model.lm_head.weight.mul_(2)
            if weights == "copy":
                model(IDS)
                continue
            with pytest.raises(UserError, match="must keep its weights"):
                model(IDS)


def test_removing_waits_for_the_calls_of_other_threads_and_is_refused_in_one_of_its_own(tiny_loaded: LoadedModel):
    model, started, go_on, tokens = tiny_loaded.model, threading.Event(), threading.Event(), []

    def stop(ids, _scores, **_options):
        started.set()
        go_on.wait(10)
        return torch.zeros(len(ids), dtype=torch.bool)

    sparsity = sparsify_(tiny_loaded, profile_set(tiny_loaded))
    wanted = _tokens(model)

    def inside(ids, _scores, **_options):
        sparsity.remove()

    with pytest.raises(UserError, match=r"between calls\. Found: a call that runs"):
        model.generate(IDS, **GREEDY, stopping_criteria=[inside])
    options = {**GREEDY, "stopping_criteria": [stop]}
    caller = threading.Thread(target=lambda: tokens.extend(model.generate(IDS, **options)[0].tolist()))
    remover = threading.Thread(target=sparsity.remove)
    caller.start()
    started.wait(10)
    remover.start()
    remover.join(0.05)
    assert remover.is_alive() and "generate" in vars(model)
    go_on.set()
    caller.join(10)
    remover.join(10)
    assert tokens == wanted and "generate" not in vars(model)


def test_a_set_is_checked_without_being_put_on(tiny_loaded: LoadedModel):
    made: ProfileSet = profile_set(tiny_loaded)
    made.check(tiny_loaded.model)
    assert "generate" not in vars(tiny_loaded.model)


THREADS, CALLS = 5, 100


def _mixed(model: PreTrainedModel, dense: PreTrainedModel) -> list[Callable[[], torch.Tensor]]:
    """Calls of every kind: prompts of both groups, batches, static caches, beams, forward passes, the dense model."""
    draw = torch.Generator().manual_seed(6)
    calls: list[Callable[[], torch.Tensor]] = []
    for number in range(20):
        rows = 1 + number % 3
        ids = torch.randint(3, 64, (rows, 4 + number % 5), generator=draw)
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        options = [{}, {"cache_implementation": "static"}, {"num_beams": 2}, {"use_cache": False}][number // 2 % 4]
        short = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, **options}
        if number % 2:
            calls.append(lambda given=given, short=short: model.generate(**given, **short))
        else:
            calls.append(lambda given=given: model(**given).logits)
    ids = torch.randint(3, 64, (2, 6), generator=draw)
    calls.append(lambda: dense(ids).logits)
    calls.append(lambda: dense.generate(ids[:1], **GREEDY))
    return calls


def test_calls_of_several_threads_get_their_own_answers(tiny_loaded: LoadedModel):
    """The router runs the first blocks, so that it is in the way of other threads' passes, too."""
    dense = copy.deepcopy(tiny_loaded.model)
    with sparsify_(tiny_loaded, profile_set(tiny_loaded, "scores")):
        calls = _mixed(tiny_loaded.model, dense)
        wanted = [call() for call in calls]

        def work(thread: int) -> int:
            right = 0
            for number in range(CALLS):
                which = (7 * number + thread) % len(calls)
                right += torch.allclose(calls[which](), wanted[which], rtol=1e-4, atol=1e-5)
            return right

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(work, range(THREADS))) == [CALLS] * THREADS
