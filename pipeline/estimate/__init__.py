"""Time, disk and memory of a run before it starts, from shapes and measured rates."""
