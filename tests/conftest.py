"""Fixtures that more than one test module needs: a tiny random Llama, as a folder and as a loaded model.

Heavy libraries are imported inside the fixtures, so that tests of light modules start at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Without a GPU, Triton kernels run in Triton's interpreter. Triton asks when it is first imported, by whomever.
if not Path("/dev/nvidia0").exists():
    os.environ["TRITON_INTERPRET"] = "1"

# Stages of tests have little to do: starting processes for it would take longer. Those that test it ask for more.
os.environ["WINA_AMP_PROCESSES"] = "1"

# Where DVC runs a stage, and which: tests run none of its own.
for _name in ("DVC_ROOT", "DVC_STAGE"):
    os.environ.pop(_name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow module first: at the end, all other cores would wait for the one that runs it. Faults that `make faults`
    tries run where they are asked for."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if "fault" not in config.option.markexpr and not config.option.collectonly:
        left = [item for item in items if item.get_closest_marker("fault")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_runtest_setup() -> None:
    """Every test begins on as many threads as a stage: UMAP leaves OpenMP, and with it torch, on all cores, where two
    workers wait for each other and take ten times as long."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel

TINY_WORDS = tuple(f"w{number}" for number in range(60))
"""The words the tiny model knows, besides its four special tokens."""


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random LlamaForCausalLM (2 blocks, hidden 32, 4 heads, 2 key/value heads) and its word tokenizer.

    Weights are wider than the usual initialisation, so that scores and predictions differ clearly between tokens.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_llama")
    vocabulary = {word: number for number, word in enumerate(("<pad>", "<bos>", "<eos>", "<unk>", *TINY_WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_loaded(tiny_llama: Path) -> LoadedModel:
    """`tiny_llama` loaded on the CPU in float32."""
    from wina_amp.models.load import load

    return load(tiny_llama, revision=None, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of lm-eval tasks over the tiny model's words.

    `pick` and `shown` are multiple choice with continuations of one to three tokens (`shown` with two few-shot
    examples), `write` is generation, `single` has a test split only.
    """
    folder = tmp_path_factory.mktemp("tiny_tasks")
    (folder / "words.py").write_text(_WORDS)
    for name, text in _TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\ncustom_dataset: !function words.dataset\n{text}")
    return folder


_WORDS = """
import random
from datasets import Dataset, DatasetDict

def _document(rng, number):
    def words(count):
        return " ".join(f"w{rng.randrange(60)}" for _ in range(count))
    choices = list(dict.fromkeys(words(rng.randint(1, 3)) for _ in range(4)))
    target = number % len(choices)
    return {"prompt": words(rng.randint(3, 12)), "choices": choices, "target": target, "answer": choices[target],
            "template": f"s{number % 2}", "computation": "words", "shots": number % 3, "subject": "none"}

def dataset(splits=("train", "test"), size=14, **metadata):
    rng = random.Random(0)
    return DatasetDict({split: Dataset.from_list([_document(rng, i) for i in range(size)]) for split in splits})
"""

_CHOICE = """output_type: multiple_choice
test_split: test
doc_to_text: prompt
doc_to_choice: choices
doc_to_target: target
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

_TASKS = {
    "pick": _CHOICE + "training_split: train\nnum_fewshot: 0\n",
    "shown": _CHOICE + "training_split: train\nnum_fewshot: 2\nfewshot_delimiter: ' w0 '\n",
    "single": _CHOICE + "dataset_kwargs: {splits: [test]}\n",
    "write": """output_type: generate_until
training_split: train
test_split: test
doc_to_text: prompt
doc_to_target: answer
generation_kwargs: {until: [w7], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
}
