"""Rewards of a judge's rollouts and the advantages made of them: pure functions, chosen and weighted in config."""
