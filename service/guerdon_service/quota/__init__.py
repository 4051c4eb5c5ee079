"""What each API key may use, counted in Redis for all replicas together; in the process while it is away."""
