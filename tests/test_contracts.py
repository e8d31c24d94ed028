"""The contracts: stubs are fresh, the CDDL holds for real codes, everything has a comment, layers hold."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pycddl
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from tests.generate_protos import PROTOS, ROOT, generate
from tests.vectors.files import read
from verifier.wire import base45, cose

CDDL = (ROOT / "protos" / "code_token.cddl").read_text(encoding="utf-8")
GOOD = read("good_codes.json")["codes"]
BAD = read("bad_codes.json")["codes"]
STUBS = {
    name.replace(".proto", ending) for name in PROTOS for ending in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
}

# The validator has faults of its own. These pass it although the CDDL forbids them: to it an empty map in
# an array is anything at all, `.size` lets other types through, a big number is an integer, a repeated
# key is one key, and what stands behind the item is not looked at.
OVERLOOKED = {
    "a byte after the code",
    "the code twice",
    "unprotected header null",
    "unprotected header an array",
    "unprotected header in a byte string",
    "kid in the unprotected header, too",
    "kid in the unprotected header only",
    "alg in the unprotected header, too",
    "something in the unprotected header",
    "kid in text",
    "kid twice",
    "alg twice",
    "a byte after the header",
    "exp twice",
    "nbf twice",
    "statement twice",
    "a byte after the claims",
    "the claims twice",
    "exp is a big number",
    "nbf is a big number",
    "credential_index a big number",
    "hint in bytes",
    "hint a number",
    "hint an array",
}


def _validators() -> dict[str, Any]:
    """Return a validator for each part of a code, by the name that the vectors use.

    The validator applies `.cbor` inside an array to the wrong items, so the envelope is checked without
    it and header and claims by themselves. The first rule of a CDDL is the one that counts.
    """
    return {
        "envelope": pycddl.Schema(re.sub(r"bstr \.cbor [a-z-]+", "bstr", CDDL)),
        "header": pycddl.Schema(f"checked = protected-header\n{CDDL}"),
        "claims": pycddl.Schema(f"checked = claims\n{CDDL}"),
    }


def _message(vector: dict[str, Any]) -> bytes:
    return base45.decode(vector["qr_text"].encode().removeprefix(b"GL1:"))


def _parts(message: bytes) -> dict[str, bytes]:
    protected, payload, _ = cose.split_sign1(message)
    return {"envelope": message, "header": protected, "claims": payload}


def _accepts(validator: Any, item: bytes) -> bool:
    try:
        validator.validate_cbor(item)
    except pycddl.ValidationError:
        return False
    return True


def test_the_cddl_accepts_every_good_code() -> None:
    validators = _validators()
    refused = {
        vector["name"]
        for vector in GOOD
        for part, item in _parts(_message(vector)).items()
        if not _accepts(validators[part], item)
    }
    assert not refused


def test_the_cddl_refuses_every_bad_code_whose_fault_it_can_express() -> None:
    validators = _validators()
    accepted = set()
    for vector in BAD:
        part = vector["part"]
        if part not in validators or vector["beyond_cddl"]:
            continue
        message = _message(vector)
        item = message if part == "envelope" else _parts(message)[part]
        if _accepts(validators[part], item):
            accepted.add(vector["name"])
    assert accepted == OVERLOOKED


def test_the_committed_stubs_are_a_fresh_generation(tmp_path: Path) -> None:
    generate(tmp_path)
    for name in STUBS:
        assert (ROOT / name).read_bytes() == (tmp_path / name).read_bytes(), f"run make protos: {name}"


def test_there_are_no_stubs_but_those_that_are_generated() -> None:
    committed = {
        str(path.relative_to(ROOT))
        for layer in ("verifier", "issuer")
        for path in (ROOT / layer).glob("**/*_pb2*")
    }
    assert {name for name in committed if "__pycache__" not in name} == STUBS


def _descriptors(into: Path) -> descriptor_pb2.FileDescriptorSet:
    out = into / "protos.bin"
    arguments = [
        "protoc",
        f"-I{ROOT / 'protos'}",
        f"-I{files('grpc_tools') / '_proto'}",
        "--include_source_info",
        f"--descriptor_set_out={out}",
        *PROTOS,
    ]
    assert protoc.main(arguments) == 0
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def _elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name of everything in a proto with its path in the descriptor (descriptor.proto)."""
    for at, service in enumerate(file.service):
        yield service.name, (6, at)
        for rpc_at, rpc in enumerate(service.method):
            yield f"{service.name}.{rpc.name}", (6, at, 2, rpc_at)
    for at, enum in enumerate(file.enum_type):
        yield enum.name, (5, at)
        for value_at, value in enumerate(enum.value):
            yield f"{enum.name}.{value.name}", (5, at, 2, value_at)
    for at, message in enumerate(file.message_type):
        assert not message.nested_type, "this test does not look into nested messages"
        assert not message.enum_type, "this test does not look into nested enums"
        yield message.name, (4, at)
        for field_at, field in enumerate(message.field):
            yield f"{message.name}.{field.name}", (4, at, 2, field_at)


def test_everything_in_the_protos_has_a_comment(tmp_path: Path) -> None:
    bare = []
    for file in _descriptors(tmp_path).file:
        comments = {
            tuple(location.path): location.leading_comments.strip()
            for location in file.source_code_info.location
        }
        bare += [f"{file.name}: {name}" for name, path in _elements(file) if not comments.get(path)]
    assert not bare


def test_every_rpc_has_a_request_and_a_response_of_its_own(tmp_path: Path) -> None:
    used = []
    for file in _descriptors(tmp_path).file:
        for service in file.service:
            for rpc in service.method:
                names = [rpc.input_type.rpartition(".")[2], rpc.output_type.rpartition(".")[2]]
                assert names == [f"{rpc.name}Request", f"{rpc.name}Response"]
                used += [rpc.input_type, rpc.output_type]
    assert len(used) == len(set(used))


def test_zero_of_every_enum_is_unspecified(tmp_path: Path) -> None:
    for file in _descriptors(tmp_path).file:
        for enum in file.enum_type:
            assert enum.value[0].number == 0
            assert enum.value[0].name.endswith("_UNSPECIFIED")


def test_the_layers_hold() -> None:
    lint_imports = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_nothing_in_the_verifier_names_a_private_key_but_that_of_tls() -> None:
    means = re.compile(r"Private[A-Z_]\w*|SigningKey|load_\w+_private|crypto_sign_seed|nacl\.signing")
    verifier = ROOT / "verifier"
    # It takes RSA and EC keys alone, and codes are signed with neither.
    tls = verifier / "tls.py"
    sources = [path for path in verifier.rglob("*.py") if path.parent.name != "v1" and path != tls]
    assert sources
    assert {path.name: means.findall(path.read_text()) for path in sources} == {
        path.name: [] for path in sources
    }
