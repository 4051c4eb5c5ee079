"""Tokenizing threads leave the interpreter to others: the event loop, and each other."""

import sys
import threading
from collections.abc import Iterator

import pytest

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InputTooLong
from tests.tokenization import reference
from tests.tokenization.reference import PARAM

NEVER_S = 1000.0
"""Seconds after which the interpreter takes its lock from a thread that does not let go by itself."""
LONG = "seven little words that say nothing much " * 20_000


@pytest.fixture
def lock_is_only_given() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(NEVER_S)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("arch", "manifest"), [("bert", {}), ("qwen2", {}), ("qwen2", {"encoding": "completion"})]
)
@pytest.mark.usefixtures("lock_is_only_given")
def test_another_thread_works_while_a_text_is_tokenized(arch: str, manifest: dict[str, str]) -> None:
    encoder, begun = reference.encoder(arch, **manifest), threading.Event()
    ended: list[bool] = []

    def tokenize() -> None:
        begun.set()
        with pytest.raises(InputTooLong):
            encoder.encode(Conversation.of("a question", LONG), PARAM)
        ended.append(True)

    thread = threading.Thread(target=tokenize)
    thread.start()
    begun.wait()
    worked_meanwhile = not ended
    thread.join()
    assert worked_meanwhile
    assert ended
