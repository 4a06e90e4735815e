"""Faults of a replay. It imports nothing: every command knows them, `butie serve` included."""


class ReaderLost(Exception):
    """A signal ended a reader before its last slice, most often for want of memory."""
