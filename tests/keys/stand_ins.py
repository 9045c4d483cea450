"""Stand-ins for Azure Key Vault and Google Secret Manager: the documented REST API, as far as keys need it."""

from __future__ import annotations

import json
import re
import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Any, ClassVar, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Answer = tuple[int, dict[str, Any], dict[str, str]]


class StandIn:
    """A server on the loopback interface that answers in a thread. `secrets` are the versions of each, in order.

    While `failing` is set, it answers 503. With `tls`, a path without suffix, it speaks HTTPS under a certificate of
    its own for "localhost", written to `<tls>.pem`.
    """

    def __init__(self, tls: Path | None = None) -> None:
        self.secrets: dict[str, list[tuple[str, str]]] = {}
        self.failing = False
        self.requests: list[str] = []
        outer = self

        class Handler(_Handler):
            stand_in = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_certificate(tls))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> Answer:
        """What is answered: status, JSON and headers."""
        raise RuntimeError("a stand-in says what it answers")


class AzureVault(StandIn):
    """Get Secret and Set Secret of Key Vault, with the challenge that tells clients where to get a token."""

    TOKEN: ClassVar[str] = "a-token-of-entra"

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> Answer:
        if headers["Authorization"] != f"Bearer {self.TOKEN}":
            where = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
            return 401, {"error": {"code": "Unauthorized"}}, {"WWW-Authenticate": where}
        name = path.strip("/").split("/")[1]
        versions = self.secrets.setdefault(name, [])
        if method == "PUT":
            versions.append((token_hex(16), body["value"]))
        if not versions:
            return 404, {"error": {"code": "SecretNotFound", "message": f"no secret {name}"}}, {}
        version, value = versions[-1]
        found = {
            "value": value,
            "id": f"https://localhost:{self.port}/secrets/{name}/{version}",
            "attributes": {"enabled": True, "created": 1_700_000_000, "updated": 1_700_000_000},
        }
        return 200, found, {}


class GoogleSecrets(StandIn):
    """AccessSecretVersion and AddSecretVersion of Secret Manager.

    What is asked for by its number is there at once; `latest` is as many versions behind as `behind` says. Versions in
    `destroyed` are there, and cannot be read.
    """

    behind = 0
    destroyed: frozenset[int] = frozenset()

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> Answer:
        match = re.fullmatch(
            r"/v1/(projects/[^/]+/secrets/[^/:]+)(?:/versions/(\w+):access|:addVersion)", path
        )
        assert match, path
        name, wanted = match[1], match[2]
        if name not in self.secrets:
            return _absent(f"Secret [{name}] not found.")
        versions = self.secrets[name]
        if wanted is None:
            versions.append((str(len(versions) + 1), b64decode(body["payload"]["data"]).decode()))
            return 200, {"name": f"{name}/versions/{len(versions)}", "state": "ENABLED"}, {}
        place = len(versions) - self.behind if wanted == "latest" else int(wanted)
        if not 0 < place <= len(versions):
            return _absent(f"Secret Version [{name}/versions/{wanted}] not found.")
        if place in self.destroyed:
            message = f"Secret Version [{name}/versions/{place}] is in DESTROYED state."
            return 400, {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": message}}, {}
        number, text = versions[place - 1]
        data = b64encode(text.encode()).decode()
        return 200, {"name": f"{name}/versions/{number}", "payload": {"data": data}}, {}


def _absent(message: str) -> Answer:
    return 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": message}}, {}


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.stand_in.requests.append(f"{self.command} {path}")
        if self.stand_in.failing:
            status, found, headers = 503, {"error": {"code": 503, "status": "UNAVAILABLE"}}, {}
        else:
            status, found, headers = self.stand_in.answer(
                self.command, path, self.headers, json.loads(body) if body else {}
            )
        data = json.dumps(found).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, *about: object) -> None:
        """The tests say what went wrong."""


def _certificate(path: Path) -> Path:
    """A file with a fresh key, and a certificate by it for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    written = path.with_suffix(".pem")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    written.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return written
