"""Reinforcement learning of a judge on preference labels, with a MetaRM in the loop where one is named."""
