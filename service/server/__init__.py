"""The server: uvicorn with our protocol, in one process or several."""
