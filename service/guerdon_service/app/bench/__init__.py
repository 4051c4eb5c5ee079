"""``guerdon bench``: the service against bare loops, in one run, as ratios."""

from guerdon_service.app.bench.command import bench_command

__all__ = ["bench_command"]
