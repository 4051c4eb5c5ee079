"""Guerdon: client library and command line for reward models."""
