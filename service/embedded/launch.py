"""Becomes an engine: gives up root, asks for a death signal, then executes the engine.

Runs as a script with the standard library alone (`python -I -S launch.py …`). Code between fork and
exec in a process with threads may deadlock. And the kernel clears the death signal on a change of
user, so the child itself has to ask for it afterwards.

Arguments: the service's pid, the signal to get when it dies, uid and gid ("-" for no change), then
the engine's command line.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

ON_LINUX = sys.platform == "linux"


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct`; pid 0 is the caller."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySets(ctypes.Structure):
    """`struct __user_cap_data_struct`: bit n is capability n; the kernel wants two in a row."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def checked(result: int) -> None:
    """Raise OSError if a C function has failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def give_up_root(uid: int, gid: int) -> None:
    """Become `uid`, but keep access to files below folders that only root may enter.

    A clone in /root or in a private temporary folder has such folders above it, and we do not
    change their permissions. The engine keeps that one capability, if we have it ourselves.
    """
    libc = ctypes.CDLL(None, use_errno=True) if ON_LINUX else None
    if libc:
        # Otherwise access(2) ignores the capability, and initdb does not find postgres in such a
        # clone. A root that may not set this can still run a clone that all may read: no error.
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        checked(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc:
        keep_folder_access(libc)


def keep_folder_access(libc: ctypes.CDLL) -> None:
    """Carry CAP_DAC_OVERRIDE, and no other capability, over the coming exec."""
    header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (CapabilitySets * 2)()
    checked(libc.capget(ctypes.byref(header), sets))
    kept = sets[0].permitted & (1 << CAP_DAC_OVERRIDE)
    sets[0] = CapabilitySets(kept, kept, kept)
    sets[1] = CapabilitySets(0, 0, 0)
    checked(libc.capset(ctypes.byref(header), sets))
    if kept:
        checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def die_with(parent_pid: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` when the parent dies; exit if it is dead already."""
    if ON_LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        checked(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0))
    if os.getppid() != parent_pid:
        sys.exit("the service ended before its engine began")


def main() -> None:
    parent_pid, death_signal, uid, gid, *command = sys.argv[1:]
    try:
        if uid != "-":
            give_up_root(int(uid), int(gid))
        die_with(int(parent_pid), int(death_signal))
        os.execv(command[0], command)
    except OSError as fault:
        sys.exit(f"FATAL: cannot start {command[0]} as user {uid}: {fault}")


if __name__ == "__main__":
    main()
