"""Inputs that several stages read: the model, tasks, those of allocators, data paths, fingerprints of parts."""
