"""Four experiments on a real model of 135 M weights: reasoning, transfer, rubrics, human preferences."""
