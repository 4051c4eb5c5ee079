"""The engine: admission, token-budget packing, single-flight. Knows core only."""
