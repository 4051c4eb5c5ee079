"""The flame graph: its rectangles, its shares, and a real one of a program that runs."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest

from guerdon_service.app.bench.flame import read_stacks, record_to, shares
from guerdon_service.app.bench.flame_svg import WIDTH, Frame, flame_svg, frames_of

RAW = """serve (app/serve.py:3);run (asyncio/base_events.py:9);read (guerdon_service/rest/score.py:7) 10
serve (app/serve.py:3);run (asyncio/base_events.py:9);encode (guerdon_service/tokenization/encoder.py:7) 5
Thread.run (threading.py:1);forward (guerdon_service/backends/packed.py:2) 20
Thread.run (threading.py:1);work (guerdon_service/engine/worker.py:2);wait (threading.py:327) 700
Thread.run (threading.py:1);forward (guerdon_service/backends/packed.py:2);attend (guerdon_service/backends/attention.py:2) 25
Thread.run (threading.py:1);forward (guerdon_service/backends/packed.py:2);<lambda> (guerdon_service/backends/prepacked_linear.py:2) 40
"""  # noqa: E501
SVG = "{http://www.w3.org/2000/svg}"


def test_shares_go_to_the_part_that_the_stack_lies_in() -> None:
    found = shares(read_stacks(RAW))
    assert found == {
        "linear layers": 0.4,
        "attention": 0.25,
        "the rest of the forward": 0.2,
        "tokenizing": 0.05,
        "engine, cache and scoring": 0.0,
        "transport": 0.1,
        "other": 0.0,
    }


def test_frames_lie_within_their_callers_and_side_by_side() -> None:
    stacks = Counter({("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("d", "b"): 4})
    assert list(frames_of(stacks)) == [
        Frame("a", 6, 0, 0),
        Frame("b", 2, 1, 0),
        Frame("c", 3, 1, 2),
        Frame("d", 4, 0, 6),
        Frame("b", 4, 1, 6),
    ]


def test_the_svg_is_well_formed_and_as_wide_as_its_samples() -> None:
    root = ElementTree.fromstring(flame_svg(read_stacks(RAW), "a <b> & c"))
    titles = [g.findtext(f"{SVG}title") for g in root.iter(f"{SVG}g")]
    assert "forward (guerdon_service/backends/packed.py:2): 85.0%" in titles
    assert "<lambda> (guerdon_service/backends/prepacked_linear.py:2): 40.0%" in titles
    lowest = max(float(r.attrib["y"]) for r in root.iter(f"{SVG}rect"))
    floor = [float(r.attrib["width"]) for r in root.iter(f"{SVG}rect") if float(r.attrib["y"]) == lowest]
    assert sum(floor) == pytest.approx(WIDTH)
    assert not list(root.iter(f"{SVG}script"))


def test_a_program_that_runs_is_read(tmp_path: Path) -> None:
    busy = "import time\ndef busy():\n    end = time.time() + 2\n    while time.time() < end: pass\nbusy()"
    raw = tmp_path / "raw"
    subprocess.run([*record_to(raw), "--", sys.executable, "-c", busy], check=True, capture_output=True)
    stacks = read_stacks(raw.read_text(encoding="utf-8"))
    assert any("busy" in frame for frames in stacks for frame in frames)
