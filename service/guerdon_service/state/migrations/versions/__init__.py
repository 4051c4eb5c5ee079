"""One file per change of the tables, never edited once released.

A change only adds, tables or columns that may be empty: replicas of the version before go on beside it.
"""
