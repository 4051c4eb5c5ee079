"""Caches of raw scores: in-process LRU in front of Redis."""
