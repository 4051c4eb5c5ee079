"""Cards and pages written from measured artifacts, and the measurements that they need."""
