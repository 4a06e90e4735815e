"""The container's health check: `python -m service.ops.probe`.

It runs every few seconds, so it imports nothing of the service and reads one variable.
"""

import http.client
import json
import os
import sys

PROBE_TIMEOUT_S = 3


def probe(port: int) -> str:
    """The faults that the service on this machine reports; empty when it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers on port {port}: {error}"
    finally:
        connection.close()
    if answer.status == http.client.OK:
        return ""
    try:
        return "; ".join(json.loads(body)["faults"])
    except (ValueError, KeyError, TypeError):
        return f"/readyz answers {answer.status}"


if __name__ == "__main__":
    sys.exit(probe(int(os.environ.get("BUTIE_PORT", "8000"))) or 0)
