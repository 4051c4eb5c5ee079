"""LitServe with its dynamic batching: up to 16 requests that come within 5 ms share a forward.

``MODEL=... DTYPE=... python batching.py PORT``
"""

import sys
from collections.abc import Sequence
from typing import Any

import litserve
from reward_model import load


class Reward(litserve.LitAPI):
    """One text a request."""

    def setup(self, device: str) -> None:
        """Load in the worker."""
        self.reward = load()

    def decode_request(self, request: dict[str, Any]) -> Any:
        """The text of a body."""
        return request["text"]

    def predict(self, x: Sequence[str]) -> list[float]:
        """Rewards of a batch."""
        rewards: list[float] = self.reward(x)
        return rewards

    def encode_response(self, output: float) -> dict[str, float]:
        """A reply."""
        return {"score": output}


if __name__ == "__main__":
    api = Reward(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
