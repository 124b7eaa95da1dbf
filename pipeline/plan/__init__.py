"""What a run would do before it does it: stages, time, disk and memory, estimated from shapes and a measured rate."""
