"""Tests of the generation room."""
