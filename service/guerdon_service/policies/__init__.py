"""Language models that sample responses: embedded, or behind a URL."""
