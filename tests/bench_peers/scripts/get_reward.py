"""OpenRLHF's `serve_rm` (0.11) without what needs CUDA: its route, JSON, left padding and handler.

One forward per request and no batching across requests: the handler holds the event loop while it computes.
``MODEL=... DTYPE=... uvicorn --app-dir . get_reward:app``
"""

from fastapi import FastAPI, Request
from reward_model import load

app = FastAPI()
reward = load(padding_side="left")


@app.get("/health")
async def health() -> dict[str, str]:
    """The model is loaded when this answers."""
    return {"status": "ok"}


@app.post("/get_reward")
async def get_reward(request: Request) -> dict[str, list[float]]:
    """Rewards of all texts of one query."""
    rewards = reward((await request.json())["query"])
    return {"rewards": rewards, "scores": rewards}
