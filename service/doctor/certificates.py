"""The certificates of the servers in the URLs are valid, and stay valid for some weeks."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

from service.doctor.check import CheckResult, Patient, fault, ok, warning

# PostgreSQL's SSLRequest: the length of the message, and its code.
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
TIMEOUT_S = 3
DAYS_LEFT_MIN = 21
LOCAL = ("127.0.0.1", "::1", "localhost")


async def check_certificates(patient: Patient) -> AsyncIterator[CheckResult]:
    database, gate = urlsplit(patient.database_url or ""), urlsplit(patient.redis_url or "")
    mode = parse_qs(database.query).get("sslmode", ["prefer"])[-1]
    if database.hostname:
        if database.hostname not in LOCAL and not mode.startswith("verify-"):
            yield warning(
                f"PostgreSQL's certificate is not checked (sslmode {mode})",
                "add sslmode=verify-full and sslrootcert to BUTIE_DATABASE_URL",
            )
        yield await _check_server(
            "PostgreSQL", database.hostname, database.port or 5432, SSL_REQUEST
        )
    if gate.hostname and gate.scheme == "rediss":
        yield await _check_server("Redis", gate.hostname, gate.port or 6379, b"")
    elif gate.hostname and gate.hostname not in LOCAL:
        yield warning(
            "the connection to Redis is not encrypted", "use rediss:// in BUTIE_REDIS_URL"
        )


async def _check_server(name: str, host: str, port: int, request: bytes) -> CheckResult:
    try:
        return await asyncio.to_thread(_judge, name, host, port, request)
    except OSError as error:
        return CheckResult("unknown", f"{name} at {host}:{port} does not answer ({error})")


def _judge(name: str, host: str, port: int, request: bytes) -> CheckResult:
    """Shake hands twice: to get the certificate, then to check its dates alone. The service's own
    connection has shown already whether it is trusted."""
    with _connect(host, port, request, _any_context()) as first:
        if not isinstance(first, ssl.SSLSocket):
            return ok(f"{name} at {host} does not use TLS")
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
    fact = f"{name}'s certificate at {host} is valid for {days} days"
    return warning(fact, remedy) if days < DAYS_LEFT_MIN else ok(fact)


def _connect(host: str, port: int, request: bytes, context: ssl.SSLContext) -> socket.socket:
    """A TLS connection, or a plain one if the server refuses TLS. Raises OSError."""
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
