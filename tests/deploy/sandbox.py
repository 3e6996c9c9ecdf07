"""`python -m tests.deploy.sandbox UNIT [OPTIONS]`: the supervisor under what a unit forbids, without systemd.

System calls (SystemCallFilter=, by libseccomp as systemd does it), address families, memory that is written to and
then executed, capabilities and new privileges. Not the mounts: the container's test has a read-only root directory.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable

from tests.deploy.manifests import unit

ALLOW = 0x7FFF0000
REFUSE = 0x00050000  # with an errno in the lower half
UNKNOWN = -1
EQUAL = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65
PR_MDWE_REFUSE_EXEC_GAIN = 1
LAST_CAPABILITY = 63
FAMILIES = 64


class Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def named(sets: Iterable[str]) -> set[str]:
    """Give the system calls of names and of systemd's sets of them."""
    found: set[str] = set()
    for name in sets:
        if not name.startswith("@"):
            found.add(name)
            continue
        told = subprocess.run(
            ["systemd-analyze", "--no-pager", "syscall-filter", name],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = (line.strip() for line in told.stdout.splitlines()[1:])
        found |= named(line for line in lines if line and not line.startswith("#"))
    return found


def allowed(filters: Iterable[str]) -> set[str]:
    """Read SystemCallFilter= lines: a list of what may be called, then what is taken out of it again."""
    found: set[str] = set()
    for line in filters:
        if line.startswith("~"):
            found -= named(line[1:].split())
        else:
            found |= named(line.split())
    # What systemd starts a program with is never refused
    return found | named(["@default", "execve", "exit", "exit_group", "rt_sigreturn"])


def filter_calls(names: Iterable[str], families: Iterable[str]) -> None:
    """Refuse all other system calls, and sockets of other families, to this process for good."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE | errno.EPERM))
    for name in sorted(names):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == UNKNOWN or name == "socket":
            continue
        seccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None)
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    passed = {getattr(socket, family).value for family in families}
    for family in range(FAMILIES):
        action = ALLOW if family in passed else REFUSE | errno.EAFNOSUPPORT
        comparison = (Comparison * 1)(Comparison(0, EQUAL, family, 0))
        seccomp.seccomp_rule_add_array(context, action, number, 1, comparison)
    if seccomp.seccomp_load(context) != 0:
        raise OSError("the kernel took no filter")


def main() -> None:
    name, *options = sys.argv[1:]
    values = unit(name)
    names = allowed(values["SystemCallFilter"])
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        print("this kernel cannot refuse memory that is written to and executed", file=sys.stderr)
    filter_calls(names, values["RestrictAddressFamilies"][0].split())
    os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "supervisor", *options])


if __name__ == "__main__":
    main()
