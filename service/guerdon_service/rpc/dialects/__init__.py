"""Other servers' gRPC services over the one domain layer: a file per dialect, off unless settings name it."""
