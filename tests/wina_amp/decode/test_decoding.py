"""`wina_amp.decode.decoding`: `generate()` does what the reference masks say, and leaves the model as it was."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache, StaticCache

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.decode import decoding as decoding_module
from wina_amp.decode.backends import BACKENDS, Backend
from wina_amp.decode.decoding import cache_of, masked_prompt, sparse_decoding
from wina_amp.errors import UserError
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import BFLOAT16

TOLERANCE = 1e-4
"""Of the largest logit: float32 sums in another order. Features close to their threshold may turn over, too; with these
seeds none does, or the difference would be a thousand times as large."""

LENGTH, STEPS = 6, 7
GROUPS = torch.tensor([1, 0, 1])
IDS = torch.randint(3, 64, (3, LENGTH), generator=torch.Generator().manual_seed(4))
PADDED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])


def _thresholds(loaded: LoadedModel) -> torch.Tensor:
    columns = len(projections(loaded.model)) // 2
    return torch.rand(2, 2, columns, generator=torch.Generator().manual_seed(3)) * 0.5


def _generate(loaded: LoadedModel, ids: torch.Tensor = IDS, mask: torch.Tensor | None = None, **options):
    """Logits of every step, `[batch, steps, vocabulary]`, and the tokens."""
    output = loaded.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids) if mask is None else mask,
        min_new_tokens=STEPS,
        max_new_tokens=STEPS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    return torch.stack(output.logits, dim=1), output.sequences[:, ids.shape[1] :]


def _masked_by_hand(loaded: LoadedModel, prompt: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of the same tokens under the reference masks, pass by pass."""
    cache, logits = DynamicCache(), []
    with torch.inference_mode(), install(loaded, "wina", _thresholds(loaded)) as runtime:
        for step in range(STEPS):
            ids = IDS if step == 0 else tokens[:, step - 1 : step]
            eligible = prompt if step == 0 else torch.ones(3, 1, dtype=torch.bool)
            with runtime.rows(GROUPS, eligible):
                logits.append(loaded.model(input_ids=ids, past_key_values=cache).logits[:, -1])
    return torch.stack(logits, dim=1)


def _assert_close(logits: torch.Tensor, wanted: torch.Tensor) -> None:
    assert (logits - wanted).abs().max() < TOLERANCE * wanted.abs().max()


def _cases():
    """Every family on the CPU's backends; in Triton's interpreter, which is slow, those that differ in its launches,
    behind dense prompts."""
    for kind in CONFIGS:
        yield from ((kind, backend, masked) for backend in ("numba", "reference") for masked in (False, True))
        if kind in ("llama", "phi3", "gemma3_text"):
            yield kind, "triton", False


def _needs(backend: str) -> None:
    if backend != "triton":
        return
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: its launches are NOT tested here (`make kernels` installs it)")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, and these models are on the CPU")


@pytest.mark.parametrize(("kind", "backend", "is_prompt_masked"), list(_cases()))
def test_generate_gives_the_logits_of_the_reference_masks(kind: str, backend: str, is_prompt_masked: bool):
    _needs(backend)
    loaded = random_model(kind)
    prompt = masked_prompt(torch.ones_like(IDS), 1) & is_prompt_masked
    sparse = sparse_decoding(loaded, "wina", _thresholds(loaded), backend=backend)
    with sparse as decoding, decoding.sequences(GROUPS, prompt):
        logits, tokens = _generate(loaded)
    wanted = _masked_by_hand(loaded, prompt, tokens)
    _assert_close(logits, wanted)
    end = loaded.model.generation_config.eos_token_id
    if end is not None and end < wanted.shape[2]:
        wanted[:, :, end] = -torch.inf  # `min_new_tokens` rules it out
    assert torch.equal(tokens, wanted.argmax(dim=2))
    dense, _ = _generate(loaded)
    assert torch.equal(logits[:, 0], dense[:, 0]) == (not is_prompt_masked)
    assert (logits[:, 1:] - dense[:, 1:]).abs().max() > 100 * TOLERANCE * dense.abs().max()


def test_a_prompt_of_one_token_and_a_prompt_in_chunks_run_dense(tiny_loaded: LoadedModel):
    short, whole = _generate(tiny_loaded, IDS[:, :1])[0], _generate(tiny_loaded)[0]
    with sparse_decoding(tiny_loaded, "teal", _thresholds(tiny_loaded)) as decoding:
        with decoding.sequences(GROUPS, torch.zeros(3, 1, dtype=torch.bool)):
            assert torch.equal(_generate(tiny_loaded, IDS[:, :1])[0][:, 0], short[:, 0])
        with decoding.sequences(GROUPS, torch.zeros(3, LENGTH, dtype=torch.bool)), torch.inference_mode():
            cache = DynamicCache()
            for chunk in (IDS[:, :4], IDS[:, 4:5], IDS[:, 5:]):
                last = tiny_loaded.model(input_ids=chunk, past_key_values=cache).logits[:, -1]
    _assert_close(last, whole[:, 0])


@pytest.mark.parametrize("sequences", [9, 12])
def test_more_sequences_than_a_kernel_takes_run_by_the_reference(tiny_loaded: LoadedModel, sequences: int):
    ids, groups = IDS[:1].expand(sequences, -1), torch.ones(sequences, dtype=torch.int64)
    prompt = torch.zeros(sequences, LENGTH, dtype=torch.bool)
    with sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded)) as decoding:
        assert [decoding.backend_for(number) for number in (1, 8, sequences)] == ["numba", "numba", "reference"]
        with decoding.sequences(groups, prompt):
            many, _ = _generate(tiny_loaded, ids)
        with decoding.sequences(groups[:1], prompt[:1]):
            single, _ = _generate(tiny_loaded, ids[:1])
    _assert_close(many, single.expand_as(many))


def test_a_forward_of_the_modules_own_comes_back(tiny_loaded: LoadedModel):
    module = projections(tiny_loaded.model)[0].module
    module.forward = own = lambda x: torch.nn.functional.linear(x, module.weight)
    try:
        with sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded)):
            assert module.forward is not own
        assert module.forward is own
    finally:
        del module.forward


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_is_found_under_the_name_of_any_transformers_release(name: str):
    cache = DynamicCache()
    assert cache_of({"input_ids": IDS, name: cache}) is cache
    assert cache_of({"input_ids": IDS}) is None


def test_eligible_prompt_tokens_are_found_whichever_side_is_padded():
    left = masked_prompt(torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]), 2)
    right = masked_prompt(torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]), 2)
    assert left.int().tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    assert right.int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("criterion", "scale", "backend", "error", "message"),
    [
        ("cats", 1.0, "auto", UserError, r"scores the inputs .* Found: cats, which reads the activated gate"),
        ("wina", 1.0, "cuda", UserError, "backend must be one of auto, numba, reference, triton"),
        ("wina", torch.nan, "auto", ValueError, "got nan for group 0, block 0, projection q"),
    ],
)
def test_what_cannot_be_installed_is_refused(
    tiny_loaded: LoadedModel, criterion: str, scale: float, backend: str, error: type[Exception], message: str
):
    thresholds = _thresholds(tiny_loaded) * scale
    with pytest.raises(error, match=message), sparse_decoding(tiny_loaded, criterion, thresholds, backend=backend):
        pass


def test_sequences_that_cannot_be_decoded_are_refused(tiny_loaded: LoadedModel):
    dense = torch.zeros(3, LENGTH, dtype=torch.bool)
    nine = torch.zeros(9, dtype=torch.int64), torch.zeros(9, LENGTH, dtype=torch.bool)
    with sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded), backend="numba") as decoding:
        with pytest.raises(ValueError, match=r"groups must be in \[0, 2\), got \[1, 2\]"):
            decoding.sequences(GROUPS + 1, dense).__enter__()
        with pytest.raises(ValueError, match=r"prompt must be \[3, width\], got \[2, 6\]"):
            decoding.sequences(GROUPS, dense[:2]).__enter__()
        with pytest.raises(UserError, match=r"numba needs 1 to 8 tokens per call\. Found: 9 tokens"):
            decoding.sequences(*nine).__enter__()
        with pytest.raises(UserError, match=r"run by the model, .* in `Decoding\.sequences"):
            _generate(tiny_loaded)
        refusal = pytest.raises(UserError, match=r"over the 3 sequences of its prompts\. Found: 1 sequences")
        with decoding.sequences(GROUPS, dense), refusal:
            _generate(tiny_loaded, IDS[:1])


def test_a_context_inside_another_hides_it_and_leaves_it_as_it_was(tiny_loaded: LoadedModel):
    prompt = masked_prompt(torch.ones_like(IDS), 2)
    sparse = sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded))
    with sparse as decoding, decoding.sequences(GROUPS, prompt):
        wanted, _ = _generate(tiny_loaded)
        with decoding.sequences(GROUPS[:1], prompt[:1]):
            _assert_close(_generate(tiny_loaded, IDS[:1])[0], wanted[:1])
        assert torch.equal(_generate(tiny_loaded)[0], wanted)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("kind", ["llama", "phi3", "gemma3_text"])
def test_what_is_skipped_is_counted_by_weights(kind: str, backend: str):
    """Beside counts of the masks' own, taken from the inputs of every projection."""
    loaded, kept, offered = random_model(kind), 0, 0
    prompt = masked_prompt(PADDED, 1)
    eligible: list[torch.Tensor] = []

    def count(number: int):
        def see(module, args):
            nonlocal kept, offered
            x = args[0]
            is_eligible = eligible[0] if x.shape[1] == LENGTH else torch.ones(3, 1, dtype=torch.bool)
            score = x.abs() * module.weight.norm(dim=0)
            limits = _thresholds(loaded).reshape(2, -1)[GROUPS, number][:, None, None]
            kept += int(((score > limits) & is_eligible[:, :, None]).sum()) * len(module.weight)
            offered += int(is_eligible.sum()) * module.weight.numel()

        return see

    eligible.append(prompt)
    with sparse_decoding(loaded, "wina", _thresholds(loaded), backend=backend) as decoding:
        with decoding.sequences(GROUPS, prompt, is_counted=True) as unwatched:
            _generate(loaded, IDS, PADDED)
        handles = [p.module.register_forward_pre_hook(count(n)) for n, p in enumerate(projections(loaded.model))]
        with decoding.sequences(GROUPS, prompt, is_counted=True) as watched:
            _generate(loaded, IDS, PADDED)
        for handle in handles:
            handle.remove()
        skipped = [decoding.skipped(sequences.tally) for sequences in (unwatched, watched)]
    assert skipped == pytest.approx([1 - kept / offered] * 2) and 0.05 < skipped[0] < 0.95


class _Counted:
    """Sparse projections that count how often they run."""

    def __init__(self, own, runs: list[str]) -> None:
        self._own, self._runs = own, runs

    def __call__(self, x, groups):
        self._runs.append("projections")
        return self._own(x, groups)

    def gated(self, x, groups):
        self._runs.append("gated")
        return self._own.gated(x, groups)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs of the reference backend's projections, in order."""
    names: list[str] = []
    row = BACKENDS["reference"]
    counted = Backend(row.refusal, lambda projections: _Counted(row.build(projections), names))
    monkeypatch.setitem(BACKENDS, "reference", counted)
    return names


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("llama", ["projections", "projections", "gated", "projections"]),  # q k v, o, gate up, down
        ("phi3", ["projections", "projections", "gated", "projections"]),
        ("gemma3_text", ["projections"] * 4),  # its activation is another
    ],
)
def test_maps_of_one_input_run_once_a_step(kind: str, wanted: list[str], runs: list[str]):
    loaded = random_model(kind)
    sparse = sparse_decoding(loaded, "wina", _thresholds(loaded), backend="reference")
    with sparse as decoding, decoding.sequences(GROUPS, torch.zeros_like(IDS, dtype=torch.bool)):
        _generate(loaded)
    assert runs == wanted * 2 * (STEPS - 1)  # two blocks; the prompt runs by the projections' own forward


def test_hooks_see_every_map_and_change_no_number(runs: list[str]):
    """Modules with hooks are called: gate and up still share a run, the activation is the model's own."""
    loaded = random_model("llama")
    sparse = sparse_decoding(loaded, "wina", _thresholds(loaded), backend="reference")
    dense = torch.zeros_like(IDS, dtype=torch.bool)
    every, seen = projections(loaded.model), []
    with sparse as decoding:
        with decoding.sequences(GROUPS, dense):
            logits, _ = _generate(loaded)
        runs.clear()
        handles = [p.module.register_forward_pre_hook(lambda module, _args: seen.append(module)) for p in every]
        with decoding.sequences(GROUPS, dense):
            watched, _ = _generate(loaded)
        for handle in handles:
            handle.remove()
    assert runs == ["projections"] * 4 * 2 * (STEPS - 1) and len(seen) == len(every) * STEPS
    assert torch.equal(logits, watched)


def test_a_map_whose_input_a_hook_replaces_gets_the_product_of_its_own(runs: list[str]):
    loaded = random_model("llama")
    k = next(projection.module for projection in projections(loaded.model) if projection.name == "k")
    dense = torch.zeros_like(IDS, dtype=torch.bool)
    with sparse_decoding(loaded, "wina", _thresholds(loaded), backend="reference") as decoding:
        with decoding.sequences(GROUPS, dense):
            plain, _ = _generate(loaded)
        runs.clear()
        handle = k.register_forward_pre_hook(lambda _module, args: (args[0].clone(),))
        with decoding.sequences(GROUPS, dense):
            copied, _ = _generate(loaded)
        handle.remove()
    assert torch.equal(plain, copied)
    assert runs[:3] == ["projections"] * 3, "q, k with a tensor of its own, v"


def test_a_map_that_is_called_again_with_the_same_tensor_runs_again(runs: list[str]):
    loaded = random_model("llama")
    q = projections(loaded.model)[0].module
    x = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(0))
    prompt = torch.zeros(1, LENGTH, dtype=torch.bool)
    sparse = sparse_decoding(loaded, "wina", _thresholds(loaded), backend="reference")
    with torch.inference_mode(), sparse as decoding, decoding.sequences(GROUPS[:1], prompt):
        cache = DynamicCache()
        for ids in (IDS[:1], IDS[:1, :1]):
            loaded.model(ids, past_key_values=cache)
        runs.clear()
        first = q(x).clone()
        x.mul_(2)
        second = q(x)
        assert runs == ["projections", "projections"] and not torch.equal(first, second)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("is_prompt_masked", [False, True])
@pytest.mark.parametrize("rows", [[1], [0], [0, 1, 2]])
@pytest.mark.parametrize("kind", ["llama", "mistral", "phi3", "gemma3_text"])
def test_a_static_cache_gives_the_tokens_of_a_growing_one(kind, rows: list[int], is_prompt_masked: bool, backend: str):
    """One sequence, with and without padding on the left, and three of two groups."""
    loaded, ids, mask, groups = random_model(kind), IDS[rows], PADDED[rows], GROUPS[rows]
    prompt = masked_prompt(mask, 1) & is_prompt_masked
    outputs = []
    with sparse_decoding(loaded, "wina", _thresholds(loaded), backend=backend) as decoding:
        for cache in (None, "static"):
            with decoding.sequences(groups, prompt):
                options = {"cache_implementation": cache, "disable_compile": True}
                outputs.append(_generate(loaded, ids, mask, **options))
    _assert_close(outputs[1][0], outputs[0][0])
    assert torch.equal(outputs[1][1], outputs[0][1])


WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "bincount")
"""Operators for which the host waits, or whose shapes depend on data."""


class _Watched(TorchDispatchMode):
    """Notes every operator with the shapes it gives, and refuses those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__ if hasattr(func, "__name__") else str(func)
        assert not any(name.split(".")[0].startswith(operator) for operator in WAITS), f"{name} waits for the device"
        is_index = name.startswith(("index.", "index_put"))
        bools = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool]
        assert not (is_index and bools), f"{name} by a mask has a shape that depends on data"
        output = func(*args, **(kwargs or {}))
        shapes = [tuple(leaf.shape) for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        self.seen.append((name, shapes))
        return output


@pytest.mark.parametrize(("kind", "backend"), [("llama", "triton"), ("phi3", "triton"), ("qwen2", "reference")])
def test_a_recorded_step_neither_waits_nor_has_shapes_that_depend_on_data(
    kind: str, backend: str, monkeypatch: pytest.MonkeyPatch
):
    """The whole step of the model, as a CUDA graph would record it: the same operators with the same shapes whatever
    is masked. In bfloat16, where the reference runs tensor operations. Kernels are one operator each."""
    _needs(backend)
    loaded = random_model(kind)
    loaded.model.to(torch.bfloat16)
    columns = len(projections(loaded.model)) // 2
    seen = []
    for threshold in (0.0, 0.3, 1e9):
        values = torch.full((2, 2, columns), threshold)
        cache = StaticCache(config=loaded.model.config, max_cache_len=LENGTH + 2)
        sparse = sparse_decoding(loaded, "wina", values, backend=backend)
        prompt = torch.zeros_like(IDS, dtype=torch.bool)
        with torch.inference_mode(), sparse as decoding, decoding.sequences(GROUPS, prompt):
            loaded.model(input_ids=IDS, past_key_values=cache)
            with monkeypatch.context() as patch, _Watched() as watched:
                patch.setattr(decoding_module, "_is_recording", lambda: True)
                loaded.model(input_ids=IDS[:, :1], past_key_values=cache)
        seen.append(watched.seen)
    assert seen[0] == seen[1] == seen[2]
    launches = sum("kept_columns" in name for name, _ in seen[0])
    assert launches == (8 if backend == "triton" else 0), "four a block: q k v, o, gate up, down"


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_rounded_weights_give_the_logits_of_a_model_that_has_them_behind_the_prompt_of_the_models_own(
    tiny_loaded: LoadedModel, backend: str
):
    """Thresholds and column norms stay the model's own; `lm_head` is rounded, but not for the prompt."""
    prompt = torch.zeros(3, LENGTH, dtype=torch.bool)
    sparse = sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded), backend=backend, weights=BFLOAT16)
    with sparse as decoding, decoding.sequences(GROUPS, prompt):
        logits, tokens = _generate(tiny_loaded)
    dense, _ = _generate(tiny_loaded)
    assert torch.equal(logits[:, 0], dense[:, 0])
    layers = [*(projection.module for projection in projections(tiny_loaded.model)), tiny_loaded.model.lm_head]
    own = [layer.weight.data for layer in layers]
    rounded = [weight.bfloat16().float() for weight in own]
    cache, wanted = DynamicCache(), []
    with torch.inference_mode(), install(tiny_loaded, "wina", _thresholds(tiny_loaded)) as runtime:
        for step in range(STEPS):
            for layer, weight, other in zip(layers, own, rounded, strict=True):
                layer.weight.data = other if step else weight
            ids = tokens[:, step - 1 : step] if step else IDS
            eligible = torch.ones(3, 1, dtype=torch.bool) if step else prompt
            with runtime.rows(GROUPS, eligible):
                wanted.append(tiny_loaded.model(input_ids=ids, past_key_values=cache).logits[:, -1])
    for layer, weight in zip(layers, own, strict=True):
        layer.weight.data = weight
    _assert_close(logits, torch.stack(wanted, dim=1))
    assert (logits[:, 1:] - _masked_by_hand(tiny_loaded, prompt, tokens)[:, 1:]).abs().max() > 10 * TOLERANCE


@pytest.mark.tried("errors", "refused")
def test_rounded_weights_on_a_backend_that_has_none_are_refused(tiny_loaded: LoadedModel):
    sparse = sparse_decoding(tiny_loaded, "wina", _thresholds(tiny_loaded), backend="triton", weights="bfloat16")
    with pytest.raises(UserError, match=r'Backend triton needs .*(`weights="copy"`|a CUDA device|the package)'), sparse:
        pass
