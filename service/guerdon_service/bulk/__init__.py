"""Bulk scoring of files by the engine in process: planned in slices, each written whole or not at all."""
