"""Typed Parquet tables (`tables`, `schemas`) and resumable work (`scratch`)."""
