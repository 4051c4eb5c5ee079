"""Preference data in other people's formats, to Guerdon's preference record."""
