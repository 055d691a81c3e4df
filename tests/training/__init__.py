"""Tests of `reasrm.training`."""
