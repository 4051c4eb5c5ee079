"""The gate's questions, a family in each file; every check is a pure function of evidence and policy."""
