"""Triton's gRPC client against a service, in a process of its own. Prints one JSON object.

Its generated code and the service's carry the same names, which one process cannot hold.
"""

import json
import sys
from typing import Any

import numpy as np
from tritonclient.grpc import (  # type: ignore[import-untyped]
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    service_pb2,
    service_pb2_grpc,
)
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]


def main(url: str, key: str, prompt: str, text: str, responses: list[str]) -> dict[str, Any]:
    """Everything that is asked of the service; a refusal is ``[status, message]``."""
    headers = {"authorization": f"Bearer {key}"} if key else None
    with InferenceServerClient(url, channel_args=[("grpc.enable_http_proxy", 0)]) as client:

        def infer(inputs: list[InferInput], **given: Any) -> Any:
            try:
                return client.infer(inputs=inputs, headers=headers, **given)
            except InferenceServerException as err:
                return [err.status(), err.message()]

        told: dict[str, Any] = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": [
                client.is_model_ready(name, version, headers=headers)
                for name, version in (("fake", ""), ("fake", "1"), ("absent", ""))
            ],
            "server": client.get_server_metadata(headers=headers, as_json=True),
            "model": client.get_model_metadata("double", headers=headers, as_json=True),
        }
        for columns in (False, True):
            pair = [
                _tensor("prompt", [prompt] * len(responses), columns),
                _tensor("response", responses, columns),
            ]
            values = infer(pair, model_name="double").as_numpy("reward")
            told[f"pairs_{columns}"] = [list(values.shape), values.ravel().tolist()]
        outputs = [InferRequestedOutput("reward")]
        found = infer(
            [_tensor("text", [text])], model_name="fake", model_version="1", outputs=outputs, request_id="r7"
        )
        told["text"] = [found.as_numpy("reward").tolist(), found.get_response().id]
        told["typed"] = _typed(client, headers, prompt, responses)
        told["refused"] = {
            "absent": infer(pair, model_name="absent"),
            "one input": infer(pair[:1], model_name="fake"),
            "no turns": infer([_tensor("text", ["no turns"])], model_name="fake"),
            "shape": infer([_tensor("prompt", [prompt]), _tensor("response", responses)], model_name="fake"),
            "output": infer(pair, model_name="fake", outputs=[InferRequestedOutput("score")]),
        }
    return told


def _tensor(name: str, texts: list[str], columns: bool = False) -> InferInput:
    values = np.array([text.encode() for text in texts], dtype=np.object_)
    values = values[:, None] if columns else values
    made = InferInput(name, list(values.shape), "BYTES")
    made.set_data_from_numpy(values)
    return made


def _typed(client: Any, headers: dict[str, str] | None, prompt: str, responses: list[str]) -> list[float]:
    """The same without raw tensors, which the client's own stub can send and `infer` does not."""
    request = service_pb2.ModelInferRequest(model_name="double")
    for name, texts in (("prompt", [prompt] * len(responses)), ("response", responses)):
        entry = request.inputs.add(name=name, datatype="BYTES", shape=[len(texts)])
        entry.contents.bytes_contents.extend(text.encode() for text in texts)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)
    reply = stub.ModelInfer(request, metadata=tuple((headers or {}).items()))
    return list(reply.outputs[0].contents.fp64_contents)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(**json.load(sys.stdin))))
