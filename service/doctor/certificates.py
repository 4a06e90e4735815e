"""The certificates behind the URLs hold, and go on holding for a while."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from service.doctor.check import Check, Finding, Patient, fault, ok, warning

# How a PostgreSQL client asks for TLS: its length, and the number that means just that.
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
TIMEOUT_S = 3
DAYS_LEFT_MIN = 21
LOCAL = ("127.0.0.1", "::1", "localhost")


async def _find(patient: Patient) -> AsyncIterator[Finding]:
    database, gate = urlsplit(patient.database_url or ""), urlsplit(patient.redis_url or "")
    mode = parse_qs(database.query).get("sslmode", ["prefer"])[-1]
    if database.hostname:
        if database.hostname not in LOCAL and not mode.startswith("verify-"):
            yield warning(
                f"PostgreSQL's certificate is not checked (sslmode {mode})",
                "add sslmode=verify-full and sslrootcert to BUTIE_DATABASE_URL",
            )
        yield await _look("PostgreSQL", database.hostname, database.port or 5432, SSL_REQUEST)
    if gate.hostname and gate.scheme == "rediss":
        yield await _look("Redis", gate.hostname, gate.port or 6379, b"")
    elif gate.hostname and gate.hostname not in LOCAL:
        yield warning("the way to Redis is not encrypted", "use rediss:// in BUTIE_REDIS_URL")


async def _look(name: str, host: str, port: int, request: bytes) -> Finding:
    try:
        return await asyncio.to_thread(_judge, name, host, port, request)
    except OSError as error:
        return Finding("unknown", f"{name} at {host}:{port} cannot be asked ({error})")


def _judge(name: str, host: str, port: int, request: bytes) -> Finding:
    """Shake hands twice: for the certificate, and to judge it by its own date alone. Whether
    it can be trusted, the connection itself has shown."""
    with _connect(host, port, request, _any_context()) as first:
        if not isinstance(first, ssl.SSLSocket):
            return ok(f"{name} at {host} speaks without TLS")
        certificate = first.getpeercert(binary_form=True)
    assert certificate is not None, "Bug! A TLS server without a certificate."
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    remedy = "renew it and let the server read it again"
    try:
        with _connect(host, port, request, context) as second:
            assert isinstance(second, ssl.SSLSocket)
            until = str((second.getpeercert() or {})["notAfter"])
    except ssl.SSLCertVerificationError as error:
        return fault(f"{name}'s certificate at {host}: {error.verify_message}", remedy)
    days = int((ssl.cert_time_to_seconds(until) - time.time()) / 86400)
    said = f"{name}'s certificate at {host} holds for {days} days"
    return warning(said, remedy) if days < DAYS_LEFT_MIN else ok(said)


def _connect(host: str, port: int, request: bytes, context: ssl.SSLContext) -> socket.socket:
    """A connection in TLS, or in plain where the server refuses it. Raises OSError."""
    plain = socket.create_connection((host, port), TIMEOUT_S)
    try:
        if request:
            plain.sendall(request)
            if plain.recv(1) != b"S":
                return plain
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _any_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CHECK = Check("certificates", _find)
