"""The report as files for other tools: `write.write_report` writes the page, metrics.json and the plot data."""
