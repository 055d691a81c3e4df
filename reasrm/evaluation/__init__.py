"""Benchmark suites: which rows, which judge protocol, which official metric, with what policy and uncertainty."""
