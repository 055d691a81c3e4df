"""Training stages on TRL trainers: what a judge learns from, how the run is kept safe, and what it will cost."""
