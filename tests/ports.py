"""Ports for programs that must be told one before they start."""

import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
