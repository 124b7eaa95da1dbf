"""Prompts in the chat template of a tokenizer, as lm-eval makes them."""
