"""Raw scores by fingerprint: an in-process LRU in front of Redis. An outage is a miss, never an error."""
