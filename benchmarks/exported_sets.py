"""Agreement of an exported profile set under `generate()` with what evaluation measured, in the table `results`.

    python -m benchmarks.exported_sets                          # after `make repro`
    python -m benchmarks.exported_sets --set kl_gradient_routed --target 0.65 --backend reference

Every test prompt of the embedded benchmark's generation tasks that was evaluated at the target is continued by
transformers' `generate()` on a plain model with the set installed, padded in front in batches, and scored as lm-eval
scores it (exact match up to "#"). Every test prompt of all tasks is routed, where there is a router. Evaluation never
ran transformers' `generate()`, so agreement is not for free.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from pipeline.config import params
from pipeline.storage.schemas import RESULTS, ROUTES, SAMPLES
from stages.inputs import paths
from wina_amp.names import AUTO
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import Sparsity, sparsify_

MODEL, STOP, NEW_TOKENS = paths.REFERENCE_MODEL, "#", 16
"""`NEW_TOKENS` and `STOP` are those of data/benchmark/_free."""


def main() -> None:
    """Print how many prompts agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="kl", help="method whose set is tried")
    parser.add_argument("--target", type=float, default=0.65)
    parser.add_argument("--backend", default=AUTO)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    profile_set = ProfileSet.from_pretrained(paths.profile_set(options.set))
    samples = SAMPLES.read(paths.SAMPLES).query("split == 'test'")
    with sparsify_(model, profile_set, sparsity=options.target, backend=options.backend) as sparse:
        if profile_set.description.router is not None:
            table = ROUTES.read(paths.table(params.load().methods[options.set].groups_from))
            print(f"routed as in `routes`: {_fraction(*routed(sparse, samples, table, options.batch))}")
        results = RESULTS.read(paths.results(options.set)).query("target == @options.target")
        is_asked = (samples["kind"] == "generation") & samples["sample_id"].isin(results["sample_id"])
        asked = samples.loc[is_asked]
        measured = results.set_index("sample_id")["score"].loc[asked["sample_id"]].to_numpy()
        is_right = scored(model, asked, options.batch)
    print(f"accuracy of {len(is_right)} generations: {is_right.mean():.4f}, in `results` {measured.mean():.4f}")
    print(f"scored as in `results`: {_fraction(is_right, measured)}")


def routed(sparse: Sparsity, samples: pd.DataFrame, table: pd.DataFrame, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """The group of every prompt, from its router and from the table."""
    groups = [sparse.route(*padded(part["prompt_ids"].tolist())).tolist() for part in _batches(samples, batch)]
    return np.concatenate(groups), table.set_index("sample_id")["group"].loc[samples["sample_id"]].to_numpy()


def scored(model: PreTrainedModel, samples: pd.DataFrame, batch: int) -> np.ndarray:
    """Whether what the model generates is the answer."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    is_right: list[bool] = []
    for part in _batches(samples, batch):
        ids, mask = padded(part["prompt_ids"].tolist())
        rows = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
        texts = tokenizer.batch_decode(rows[:, ids.shape[1] :], skip_special_tokens=True)
        pairs = zip(texts, part["answer"], strict=True)
        is_right += [text.partition(STOP)[0].strip() == answer.strip() for text, answer in pairs]
    return np.array(is_right)


def padded(prompts: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of prompts, padded in front."""
    width = max(len(prompt) for prompt in prompts)
    ids, mask = (torch.zeros(len(prompts), width, dtype=torch.int64) for _ in range(2))
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def _batches(samples: pd.DataFrame, batch: int) -> list[pd.DataFrame]:
    return [samples.iloc[start : start + batch] for start in range(0, len(samples), batch)]


def _fraction(values: np.ndarray, wanted: np.ndarray) -> str:
    return f"{int((values == wanted).sum())} of {len(wanted)} prompts"


if __name__ == "__main__":
    main()
