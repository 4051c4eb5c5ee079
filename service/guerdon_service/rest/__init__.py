"""REST transport: parse, call, render."""
