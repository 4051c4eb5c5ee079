"""Generated gRPC code of guerdon.proto; regenerate with make protos."""
