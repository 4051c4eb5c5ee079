"""Back ends: a batch of token ids to raw head outputs."""
