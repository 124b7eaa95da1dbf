"""Independent tasks in worker processes: `processes.WorkerPool`."""
