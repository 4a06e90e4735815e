"""The server. Its libraries are loaded without what no server uses, so this comes first."""

from service.server.unused import leave_out

leave_out()
