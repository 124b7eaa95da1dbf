"""Where the numbers of a page come from, in words: the model, the machine and the time."""

from __future__ import annotations

FAMILIES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen 2",
    "qwen3": "Qwen 3",
    "phi3": "Phi 3",
    "gemma3_text": "Gemma 3",
    "olmo2": "OLMo 2",
}
"""`model_type` -> the family's name."""


def model_in_words(
    name: str, family: str, parameters: int, blocks: int, dtype: str, *, is_embedded: bool = False
) -> str:
    """ "gemma-3-270m (Gemma 3, 268 million parameters, 18 blocks, float32)"."""
    size = f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
    rest = f"{size} parameters, {blocks} blocks, {dtype}"
    if is_embedded:
        return f"the embedded model, which this repository trained on synthetic tasks ({rest})"
    return f"{name} ({FAMILIES.get(family, family)}, {rest})"


def time_in_words(seconds: float, *, is_all: bool) -> str:
    """ "8 minutes", or "2 minutes, beside what came from a cache"; whole minutes from two of them on."""
    shown = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
    if seconds >= 7200:
        shown = f"{seconds / 3600:.1f} hours"
    return shown if is_all else f"{shown}, beside what came from a cache"
