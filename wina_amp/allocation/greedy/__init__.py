"""Block-wise greedy allocation (TEAL, Algorithm 1). Entry: `blockwise.block_paths`."""
