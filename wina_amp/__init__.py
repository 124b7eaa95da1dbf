"""WINA-AMP, the runtime: what runs in a program that decodes with a profile set. It never imports `pipeline`."""
