"""Measurements that back a claim of speed; each prints what it compares and compares within one process."""
