"""What dialects share over REST and gRPC: texts to conversations, waiting for room, ranks, tensors."""
