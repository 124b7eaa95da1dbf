"""Inputs that several stages read (the model, the tasks, those of allocators), data paths, and fingerprints of parts."""
