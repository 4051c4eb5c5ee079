"""Statistics of evaluation: intervals, tests, verdicts. Pure functions of arrays."""
