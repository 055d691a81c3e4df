"""Models behind the rewards."""
