"""Composition: settings, model loading, metrics, servers."""
