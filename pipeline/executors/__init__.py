"""Independent tasks in several worker processes."""
