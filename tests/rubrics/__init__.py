"""Criteria: leaks, checks, verification, metrics."""
