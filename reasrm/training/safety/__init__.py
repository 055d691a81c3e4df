"""What keeps a run safe: checkpoints that survive a crash, steps that go wrong, random states, signals."""
