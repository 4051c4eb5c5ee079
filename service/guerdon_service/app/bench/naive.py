"""The server that people write first: FastAPI, one model call per request inside the handler.

Started as ``python -m guerdon_service.app.bench.naive SOURCE``; it answers `/v1/score` with one item.
"""

import socket
import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI

from guerdon_service.app.bench.bare import padded_model
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.conversation import Conversation
from guerdon_service.tokenization.encoder import load_encoder


def create_app(source: str) -> FastAPI:
    """An app over one model in fp32."""
    artifact = read_artifact(source)
    encoder, model = load_encoder(artifact), padded_model(artifact)
    app = FastAPI()

    @app.post("/v1/score")
    async def score(body: dict[str, Any]) -> dict[str, Any]:
        item = body["items"][0]
        encoded = encoder.encode(Conversation.of(item["prompt"], item["response"]), "item")
        with torch.inference_mode():
            ids = torch.from_numpy(encoded.input_ids).long()[None]
            return {"scores": model(input_ids=ids).logits[0].tolist()}

    return app


def main() -> None:
    """Serve on a free port and say which."""
    app = create_app(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"naive ready rest=http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()
