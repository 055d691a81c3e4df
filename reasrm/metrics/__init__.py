"""Pure functions from judged rows and labels to numbers with intervals: rates, accuracies, benchmark suites.

Every suite is one file of `suites/`: `evaluate(rows, *, seed, policy) -> SuiteResult`, its own default `POLICY`, and
what `reasrm eval` must know of it.
"""
