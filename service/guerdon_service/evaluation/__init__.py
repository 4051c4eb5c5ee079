"""Held-out evaluation of served models through the same engine that serves them."""
