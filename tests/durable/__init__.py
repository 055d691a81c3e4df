"""Tests of `reasrm.durable`."""
