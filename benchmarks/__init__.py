"""Measurements that back a claim of speed; each prints what it compares and runs both sides in one process."""
