"""What code can say of criteria without a model: leaks, repeats and conflicts, verification, and how good they are.

Pure functions over `rubric.Criterion` and outcomes of judging; whoever synthesises, filters or reports asks the models.
"""
