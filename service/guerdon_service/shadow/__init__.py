"""A candidate beside the champion: shadow and canary traffic, what they show, and drift of what is served."""
