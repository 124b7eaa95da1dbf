"""Answers by rule: per-item differences of refits, a verdict from an interval, and how many items a question needs."""
