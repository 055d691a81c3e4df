"""The world's English twin: requests in plain English over real text, whose truth is computed all the same."""
