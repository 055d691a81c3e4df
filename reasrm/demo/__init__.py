"""The whole pipeline on the embedded world, through the same code as any other model and data."""
