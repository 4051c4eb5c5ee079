"""One check per file: each a pure function from `Records` to `Check`."""
