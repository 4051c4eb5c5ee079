"""The server that people write first: one model call per request, in the framework's threads, behind a lock.

``MODEL=... DTYPE=... uvicorn --app-dir . naive:app``
"""

import threading

from fastapi import FastAPI
from pydantic import BaseModel
from reward_model import load

app = FastAPI()
reward, lock = load(), threading.Lock()


class Body(BaseModel):
    """One text."""

    text: str


@app.get("/health")
def health() -> dict[str, str]:
    """The model is loaded when this answers."""
    return {"status": "ok"}


@app.post("/score")
def score(body: Body) -> dict[str, float]:
    """Its reward."""
    with lock:
        return {"score": reward([body.text])[0]}
