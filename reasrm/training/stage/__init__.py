"""What every training stage does: one driver, and what it needs of configs, models, rows and plans."""
