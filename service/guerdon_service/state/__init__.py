"""Durable state in SQL: the registry, evaluations and feedback."""
