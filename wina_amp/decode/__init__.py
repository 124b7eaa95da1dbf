"""Sparse decoding: backends (reference, numba, triton), packed weights, CUDA graphs.

Public: `decoding.sparse_decoding`, `backends.BACKENDS` and `backends.choose`.
"""
