"""Backends: a model in this process, a model behind an endpoint, or recorded answers."""
