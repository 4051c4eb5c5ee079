"""One thread at a time builds a model of `transformers`."""

import threading

ONE_LOAD = threading.Lock()
"""Held around every ``from_pretrained`` and ``from_config`` of a model in the service, and around merges of
adapters.

These change classes and settings of the whole process for as long as they run and put back what they found.
Two that overlap find each other's: `PreTrainedModel.tie_weights` does nothing from then on, and later models
with tied weights are refused."""
