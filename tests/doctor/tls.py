"""A front of TLS for a server that has none: as PostgreSQL asks for it, or from the first byte."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme


@contextmanager
def front(port: int, certificate: trustme.LeafCert, *, asked: bool) -> Iterator[int]:
    """Listens on the port it yields; `asked`: TLS begins when the client has asked for it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=meet, args=(client,), daemon=True).start()

        def meet(client: socket.socket) -> None:
            with suppress(OSError):
                if asked:
                    client.recv(8)
                    client.sendall(b"S")
                inside = context.wrap_socket(client, server_side=True)
                server = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pipe, args=(server, inside), daemon=True).start()
                pipe(inside, server)

        def pipe(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
