"""A gRPC server on loopback that answers every Data Manager call as a test decides, over TLS. It knows no rules: that is the
sandbox's part."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import grpc

from nestaudience.destinations.google_connection import GoogleDataManagerSettings, SandboxEndpoint, SandboxToken
from nestaudience.destinations.google_data_manager import GoogleDataManager
from nestaudience.destinations.google_quota import Quota
from nestaudience.sandbox.certificates import make_loopback_certificates

Answer = Callable[[grpc.ServicerContext], bytes]


class AnsweringServer:
    """`answer` is called for each call; `calls` are the methods that arrived, in order."""

    def __init__(self) -> None:
        self.answer: Answer = lambda context: b""
        self.calls: list[str] = []

    def handler(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def serve(raw: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append(details.method.rpartition("/")[2])
            return self.answer(context)

        return grpc.unary_unary_rpc_method_handler(serve)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, server: AnsweringServer) -> None:
        self._server = server

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._server.handler(details)


@contextmanager
def answering() -> Iterator[tuple[AnsweringServer, GoogleDataManager]]:
    """A server and the destination that talks to it."""
    certificates = make_loopback_certificates()
    answers = AnsweringServer()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((_Handlers(answers),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(certificates.key_pem, certificates.server_pem)]))
    server.start()
    endpoint = SandboxEndpoint(f"localhost:{port}", certificates.ca_pem)
    settings = GoogleDataManagerSettings(SandboxToken("t"), terms_accepted=True, endpoint=endpoint, timeout_seconds=5.0)
    days = Quota(clock=count(0, 1_000_000).__next__)  # whatever was said of a quota is long ago
    destination = GoogleDataManager(settings, sleep=lambda _: None, quota=days)
    try:
        yield answers, destination
    finally:
        destination.close()
        server.stop(grace=None).wait()
