"""Artifact folders: find, check for safety, digest, read or infer the manifest."""
