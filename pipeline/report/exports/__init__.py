"""The report as files for other tools: metrics.json, plot data."""
