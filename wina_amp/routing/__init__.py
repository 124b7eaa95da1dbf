"""Routers from a prompt to the group whose profile it runs with, and the features that they read.

Public: `router.Router` (with `save_router`, `load_router`), `prompt_router.PromptRouter`, `first_blocks.FirstBlocks`.
"""
