"""Preferences that people give, stored and turned into training data."""
