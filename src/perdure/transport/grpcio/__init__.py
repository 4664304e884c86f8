"""gRPC by grpcio's asyncio server: the transport that is well trodden."""
