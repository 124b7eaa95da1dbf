"""Generate with an exported profile set, and dense beside it.

    python -m examples.generate
    python -m examples.generate --set data/profile_sets/kl --target 0.65 "please take the next : 85 , 41 ; answer :"
    python -m examples.generate --model <folder> --set <folder> --target 0.5 "..." "..."

Several prompts are one batch, which may mix groups. The defaults are the embedded reference model, which knows the
embedded benchmark and nothing else. `docs/usage.md` has the same in a program of one's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from stages.run import run_command
from wina_amp import ProfileSet, sparsify_
from wina_amp.names import AUTO, BACKENDS, PREFILLS, Prefill

MODEL, SET = "data/reference/model", "data/profile_sets/clustered_routed"
PROMPTS = (
    "please find the other : deer crow rose drill lever nail lion ; answer :",
    "ann asks ben to find 50 , 68 , 38 , 39 by first , ben says :",
)


def main(
    prompts: Sequence[str],
    *,
    model: str = MODEL,
    folder: str = SET,
    target: float = 0.5,
    prefill: Prefill = "sparse",
    backend: str = AUTO,
    tokens: int = 8,
) -> None:
    """Print the continuation of every prompt, dense and sparse."""
    profile_set = ProfileSet.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(model)
    lm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(model, attn_implementation="sdpa").eval()
    # A decoder continues the end of a row, so prompts of different lengths are padded in front.
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    width = given["input_ids"].shape[1]

    dense = lm.generate(**given, max_new_tokens=tokens, do_sample=False)
    with sparsify_(lm, profile_set, sparsity=target, prefill=prefill, backend=backend) as sparse:
        sparsely = lm.generate(**given, max_new_tokens=tokens, do_sample=False)

    names = [profile_set.description.groups[group].name for group in sparse.groups.tolist()]
    texts = [tokenizer.batch_decode(rows[:, width:], skip_special_tokens=True) for rows in (dense, sparsely)]
    for prompt, name, before, after in zip(prompts, names, *texts, strict=True):
        sys.stdout.write(f"{prompt}\n  dense               {before}\n  sparse {target:4g} {name:<12}{after}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="generate", description="Generate with an exported profile set.")
    parser.add_argument("prompts", nargs="*", help="prompts; without any, two of the embedded benchmark")
    parser.add_argument("--model", default=MODEL, help=f"folder or hub id of the checkpoint ({MODEL})")
    parser.add_argument("--set", dest="folder", default=SET, help=f"folder of the profile set ({SET})")
    parser.add_argument("--target", type=float, default=0.5, help="one of the set's targets (0.5)")
    parser.add_argument("--prefill", choices=PREFILLS, default="sparse", help="how prompts run (sparse)")
    parser.add_argument("--backend", choices=(AUTO, *BACKENDS), default=AUTO, help="how decode steps run (auto)")
    parser.add_argument("--tokens", type=int, default=8, help="new tokens (8)")
    return parser.parse_args()


if __name__ == "__main__":
    given = vars(_arguments())
    asked = given.pop("prompts") or PROMPTS
    run_command("generate", lambda: main(asked, **given))
