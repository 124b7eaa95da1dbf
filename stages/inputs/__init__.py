"""What several stages read: the model, the tasks, the inputs of allocators."""
