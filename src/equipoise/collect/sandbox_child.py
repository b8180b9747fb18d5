"""The inner side of the sandbox, run by `sandbox` as `python -I -S sandbox_child.py`; stands on its own.

It sets its own limits first, then runs the code and the tests, and writes one line with the verdict. It
guards against what models write by mistake, not against code made to read the verdict's token in memory.
"""

from __future__ import annotations

import os
import resource
import sys

CPU_SECONDS = 2
MEMORY_BYTES = 512 * 1024 * 1024
PROCESSES = 64
OPEN_FILES = 64

DENIED = tuple(
    """
    socket. subprocess. ctypes. pty. shutil. tempfile. fcntl. syslog. resource.
    os.fork os.posix_spawn os.spawn os.exec os.system os.startfile os.kill signal.pthread_kill
    os.remove os.rename os.rmdir os.mkdir os.mkfifo os.link os.symlink os.truncate os.chmod os.chown
    os.utime os.setxattr os.removexattr os.chdir os.fchdir os.putenv os.lockf
    """.split()
)
# Both start processes or call C without an audit event of their own.
DENIED_MODULES = frozenset(("_posixsubprocess", "_ctypes", "_testcapi", "_testinternalcapi"))
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PLACES = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)}
READABLE = (
    *(os.path.realpath(place) + "/" for place in _PLACES),
    "/usr/share/zoneinfo/",
    "/dev/null",
    "/dev/urandom",
)


def _limit() -> None:
    # The hard CPU limit equals the soft one: the first process of a namespace ignores the soft one's signal.
    for name, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))


def _audit(event: str, args: tuple[object, ...]) -> None:
    if event == "open":
        path, _, flags = args
        if isinstance(flags, int) and flags & WRITING:
            raise PermissionError("the sandbox allows no writing")
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if isinstance(path, str) and not os.path.realpath(path).startswith(READABLE):
            raise PermissionError("the sandbox allows reading of the standard library only")
    elif event == "import":
        if args[0] in DENIED_MODULES:
            raise ImportError(f"the sandbox has no module {args[0]}")
    elif event.startswith(DENIED):
        raise PermissionError(f"the sandbox does not allow {event}")


def _verdict(code: str, tests: str, reply: str) -> str:
    # Not "__main__": a script part behind that guard must not run.
    namespace: dict[str, object] = {"__name__": "reply", "reply": reply}
    try:
        exec(compile(code, "<reply>", "exec"), namespace)
        namespace["reply"] = reply
        exec(compile(tests, "<tests>", "exec"), namespace)
    except BaseException as error:  # noqa: BLE001 - whatever the code raises, exits included, is a failed test
        return f"fail {type(error).__name__}"
    return "pass"


def main() -> None:
    """Read the job from standard input, run it, write the verdict to what was standard output."""
    token, code, tests, reply = sys.stdin.buffer.read().decode("utf-8", "replace").split("\0")
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _limit()
    sys.addaudithook(_audit)
    verdict = _verdict(code, tests, reply)
    os.write(out, f"{token} {verdict}\n".encode("ascii", "replace"))
    # Threads and exit handlers of the code get no further turn.
    os._exit(0)


if __name__ == "__main__":
    main()
