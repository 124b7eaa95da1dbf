"""The report in numbers: from tables to findings. Knows no sentence and no page."""
