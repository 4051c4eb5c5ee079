"""The table as a picture."""

from pathlib import Path

from guerdon_service.app.bench.figure import at_least, at_most, plain
from guerdon_service.app.bench.plot import write_plot

PNG = b"\x89PNG"


def test_what_has_to_be_zero_is_left_to_the_table(tmp_path: Path) -> None:
    """There is no ratio to draw of it."""
    figures = [at_least("share", [0.5], 0.4), at_most("wrong scores", [0], 0, ""), plain("rate", [7.0], "x")]
    write_plot(figures, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(PNG)
