"""Training: reward models and policies from human preferences. Imports only guerdon_service.core."""
