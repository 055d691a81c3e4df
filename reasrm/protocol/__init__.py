"""How a judge is asked and how its answer is read: specs, prompts, the encoder, the parser."""
