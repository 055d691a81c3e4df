"""A base model, a teacher and a judge for the embedded world, small enough for two CPU cores."""
