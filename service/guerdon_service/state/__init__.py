"""Durable state in SQL: the registry, evaluations with their scores, feedback."""
