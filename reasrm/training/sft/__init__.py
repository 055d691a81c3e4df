"""Supervised fine-tuning of a judge on written judgments."""
