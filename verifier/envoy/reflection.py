"""gRPC's server reflection over ASGI, for tools such as `buf curl` and grpcurl."""

from collections.abc import Callable

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb

from verifier.call_error import Status
from verifier.envoy.asgi import SERVICE
from verifier.envoy.asgi_types import Scope
from verifier.envoy.exchange import Exchange
from verifier.envoy.framing import Unframer, frame
from verifier.limits import MAX_SCAN_BYTES

# The messages of both versions are alike on the wire.
_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
PATHS = tuple(f"/{service}/ServerReflectionInfo" for service in _SERVICES)
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


async def answer(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001 - as every method
    """Answer questions as they come."""
    unframer = Unframer(MAX_SCAN_BYTES, exchange.encoding)
    has_more = True
    while has_more:
        body, has_more = exchange.read(await exchange.receive())
        for message in unframer.feed(body):
            request = pb.ServerReflectionRequest.FromString(message)
            await exchange.send(frame(_response(request).SerializeToString()))
    await exchange.end()


def _response(request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
    pool = descriptor_pool.Default()
    response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
    asked = request.WhichOneof("message_request")
    try:
        if asked == "list_services":
            names = (SERVICE, _HEALTH, *_SERVICES)
            response.list_services_response.service.extend(pb.ServiceResponse(name=name) for name in names)
        elif asked == "file_by_filename":
            _add_files(response, pool.FindFileByName, request.file_by_filename)
        elif asked == "file_containing_symbol":
            _add_files(response, pool.FindFileContainingSymbol, request.file_containing_symbol)
        else:
            _refuse(response, Status.UNIMPLEMENTED, "only services, files and symbols can be asked for")
    except KeyError:
        _refuse(response, Status.NOT_FOUND, "there is no such file or symbol here")
    return response


def _add_files(
    response: pb.ServerReflectionResponse, find: Callable[[str], FileDescriptor], name: str
) -> None:
    """Add a file and what it imports, each once."""
    files: dict[str, bytes] = {}
    waiting = [find(name)]
    while waiting:
        file = waiting.pop()
        if file.name not in files:
            described = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(described)
            files[file.name] = described.SerializeToString()
            waiting.extend(file.dependencies)
    response.file_descriptor_response.file_descriptor_proto.extend(files.values())


def _refuse(response: pb.ServerReflectionResponse, status: Status, message: str) -> None:
    response.error_response.error_code = int(status)
    response.error_response.error_message = message
