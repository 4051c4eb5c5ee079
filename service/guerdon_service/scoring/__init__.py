"""The one domain layer under both transports: score, compare, rank over loaded models."""
