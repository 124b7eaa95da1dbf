"""The report as one HTML page: figures, tables, template."""
