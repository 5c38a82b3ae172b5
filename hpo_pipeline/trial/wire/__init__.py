"""Messages over gRPC: Katib's contract `api.v1.beta1`, and our own between trial and services.

The `*_pb2*` modules are generated: change a `.proto` file and run `make wire`.
"""
