"""Generate the gRPC stubs from `protos/`, as committed in `verifier/v1` and `issuer/v1`.

Run as `make protos`. Directory = proto package = Python package, so the generated imports resolve as
they are. A test generates into a temporary folder and compares.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
PROTOS = (
    "verifier/v1/scan_log.proto",
    "verifier/v1/verifier.proto",
    "issuer/v1/access.proto",
    "issuer/v1/admin.proto",
    "issuer/v1/cache.proto",
    "issuer/v1/gates.proto",
    "issuer/v1/issuer.proto",
    "issuer/v1/keys.proto",
    "issuer/v1/scans.proto",
)


def generate(into: Path) -> None:
    """Write the stubs of all protos under `into`; raises RuntimeError when protoc refuses."""
    arguments = [
        "protoc",
        f"-I{ROOT / 'protos'}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"--python_out={into}",
        f"--pyi_out={into}",
        f"--grpc_python_out={into}",
        *PROTOS,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused the protos; its message stands above")


if __name__ == "__main__":
    generate(ROOT)
    sys.stdout.write("generated the stubs into verifier/v1 and issuer/v1\n")
