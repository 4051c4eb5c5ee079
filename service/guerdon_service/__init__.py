"""Guerdon's service: reward models over REST and gRPC. Layers are drawn in docs/architecture.md."""
