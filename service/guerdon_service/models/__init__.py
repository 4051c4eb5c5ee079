"""Artifacts that ship inside the package; `default` is the model served when none is named."""
