"""gRPC transport: parse, call, render."""
