"""Versions of models: registered, promoted through a gate, rolled back, and followed by every replica."""
