"""Pure functions from judged rows and labels to numbers with intervals: rates, accuracies, benchmark suites.

Every suite is a module with `evaluate(rows, *, seed, policy) -> SuiteResult` and its own default `POLICY`.
"""
