"""Batch systems: branches become jobs, and no job is lost, doubled or retried in vain."""
