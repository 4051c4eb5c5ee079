"""gRPC over HTTP/2 on the event loop: frames, header blocks, calls, connections. It knows no scores."""
