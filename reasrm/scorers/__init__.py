"""Models behind the callables that floor 1 asks for: what a reward needs a model for, it gets from here."""
