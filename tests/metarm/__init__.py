"""Tests of the MetaRM."""
