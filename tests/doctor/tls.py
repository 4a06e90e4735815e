"""TLS in front of a server that has none: on request, as with PostgreSQL, or at once."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme


@contextmanager
def front(port: int, certificate: trustme.LeafCert, *, on_request: bool) -> Iterator[int]:
    """Listen on the port it yields. With `on_request`, TLS begins with PostgreSQL's SSLRequest."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=meet, args=(client,), daemon=True).start()

        def meet(client: socket.socket) -> None:
            with suppress(OSError), client:
                if on_request:
                    client.recv(8)
                    client.sendall(b"S")
                with (
                    context.wrap_socket(client, server_side=True) as inside,
                    socket.create_connection(("127.0.0.1", port)) as server,
                ):
                    answers = threading.Thread(target=pipe, args=(server, inside), daemon=True)
                    answers.start()
                    pipe(inside, server)
                    answers.join()

        def pipe(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
