"""Independent tasks in worker processes: `processes.WorkerPool`, and `processes.processes`, how many there is room for."""
