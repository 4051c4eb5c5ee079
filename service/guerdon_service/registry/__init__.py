"""Versions, aliases and the gate that lets a candidate become the champion."""
