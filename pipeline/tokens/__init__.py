"""Text to token ids: what a tokenizer and a chat template make of a prompt and its answers."""
