"""Sparse decoding: backends (reference, numba, triton), packed weights, CUDA graphs. Entry:
`decoding.sparse_decoding`."""
