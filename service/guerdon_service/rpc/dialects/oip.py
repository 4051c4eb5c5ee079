"""The Open Inference Protocol, version 2, over gRPC, with raw tensors and typed ones.

A reply is raw where its request was, as clients of either form expect.
"""

import struct
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from guerdon_protos.dialects import oip_pb2 as pb
from guerdon_service.core.errors import InvalidInput, UnknownModel
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.dialects import tensors
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.dialects.tensors import Tensor
from guerdon_service.rpc.dialects.dialect import DialectMethod, RpcDialect, read_message

_SERVICE = "inference.GRPCInferenceService"


async def live(scorer: PatientScorer, data: bytes) -> pb.ServerLiveResponse:
    """Whether the process answers."""
    read_message(pb.ServerLiveRequest, data)
    return pb.ServerLiveResponse(live=True)


async def ready(scorer: PatientScorer, data: bytes) -> pb.ServerReadyResponse:
    """Whether requests can be answered."""
    read_message(pb.ServerReadyRequest, data)
    return pb.ServerReadyResponse(ready=scorer.scorer.is_ready())


async def model_ready(scorer: PatientScorer, data: bytes) -> pb.ModelReadyResponse:
    """Whether the model can answer now; one that is not known cannot."""
    message = read_message(pb.ModelReadyRequest, data)
    try:
        info = scorer.scorer.model(tensors.versioned(message.name, message.version))
    except UnknownModel:
        return pb.ModelReadyResponse(ready=False)
    return pb.ModelReadyResponse(ready=info.state == "ready")


async def server(scorer: PatientScorer, data: bytes) -> pb.ServerMetadataResponse:
    """The server's name and version."""
    read_message(pb.ServerMetadataRequest, data)
    return pb.ServerMetadataResponse(name="guerdon", version=version("guerdon"))


async def metadata(scorer: PatientScorer, data: bytes) -> pb.ModelMetadataResponse:
    """The model's tensors."""
    message = read_message(pb.ModelMetadataRequest, data)
    info = scorer.scorer.model(tensors.versioned(message.name, message.version))
    described = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=info.name,
        versions=[info.version],
        platform=f"guerdon_{info.backend}",
        inputs=[described(name=n, datatype=tensors.INPUT_TYPE, shape=[-1]) for n in tensors.INPUTS],
        outputs=[described(name=tensors.OUTPUT, datatype=tensors.OUTPUT_TYPE, shape=[-1])],
    )


async def infer(scorer: PatientScorer, data: bytes) -> pb.ModelInferResponse:
    """Tensors in, tensors out."""
    message = read_message(pb.ModelInferRequest, data)
    tensors.check_outputs(output.name for output in message.outputs)
    items, shape = tensors.to_conversations(list(_tensors(message, scorer.limits)))
    result = await scorer.score(items, tensors.versioned(message.model_name, message.model_version))
    reply = pb.ModelInferResponse(
        model_name=result.model.name, model_version=result.model.version, id=message.id
    )
    output = reply.outputs.add(name=tensors.OUTPUT, datatype=tensors.OUTPUT_TYPE, shape=shape)
    rewards = [score.reward for score in result.scores]
    if message.raw_input_contents:
        reply.raw_output_contents.append(struct.pack(f"<{len(rewards)}d", *rewards))
    else:
        output.contents.fp64_contents.extend(rewards)
    return reply


def _tensors(message: pb.ModelInferRequest, limits: Limits) -> Iterator[Tensor]:
    tensors.check_inputs(len(message.inputs))
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidInput(
            f"raw_input_contents holds {len(raw)} entries for {len(message.inputs)} inputs; send one each",
            param="raw_input_contents",
        )
    for i, entry in enumerate(message.inputs):
        path = f"inputs[{i}]"
        tensors.check_type(entry.datatype, path)
        if raw:
            texts: Sequence[str] = tensors.split_strings(memoryview(raw[i]), path, limits)
        else:
            check_count(path, len(entry.contents.bytes_contents), limits)
            texts = [tensors.as_text(text, path) for text in entry.contents.bytes_contents]
        yield tensors.as_tensor(entry.name, entry.shape, texts, path)


OIP = RpcDialect(
    {
        _SERVICE: {
            "ServerLive": DialectMethod("oip_live", live, scope=None, is_open=True),
            "ServerReady": DialectMethod("oip_ready", ready, scope=None, is_open=True),
            "ModelReady": DialectMethod("oip_model_ready", model_ready, scope=None),
            "ServerMetadata": DialectMethod("oip_server", server, scope=None),
            "ModelMetadata": DialectMethod("oip_metadata", metadata, scope=None),
            "ModelInfer": DialectMethod("oip_infer", infer),
        }
    }
)
