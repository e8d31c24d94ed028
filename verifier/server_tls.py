"""TLS of a grpcio server, from PEM files that are read once, at the start."""

from pathlib import Path

import grpc

from verifier.tls import read_certificates, read_pair


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Return what grpcio needs; raises SettingsError, naming the file.

    With `client_ca` every client needs a certificate of one of these.
    """
    pair = read_pair(certificate, key)
    if client_ca is None:
        return grpc.ssl_server_credentials([pair])
    authorities = read_certificates(client_ca)
    return grpc.ssl_server_credentials([pair], root_certificates=authorities, require_client_auth=True)
