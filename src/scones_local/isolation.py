"""Isolation: a program that becomes a Lambda execution environment with its own /tmp and its own processes.

Usage: python -P isolation.py OPTIONS HANDLER. It starts two more processes: the first of a new process namespace, which
ends all others with it, and the one that runs AWS's runtime client. Only /tmp can be written, as on AWS; it lies in
memory, has a fixed size, and ends with the environment. Without HANDLER the program only tries whether this works here.

Sources: https://man7.org/linux/man-pages/man7/namespaces.7.html and
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
from contextlib import suppress
from importlib import _bootstrap_external as import_system
from typing import Any, NoReturn

MAX_PROCESSES = 1024
"""The quota of processes and threads of an execution environment on AWS."""
FILES_PER_MB = 64
POLL_MILLISECONDS = 250
NEW_MOUNTS, NEW_USERS, NEW_PROCESSES = 0x20000, 0x10000000, 0x20000000
BIND, PRIVATE, NO_SUID_OR_DEVICES = 0x1000, 0x40000 | 0x4000, 0x6
MOUNT_SETATTR, HERE, RECURSIVE, READ_ONLY = 442, -100, 0x8000, 0x1
PR_SET_PDEATHSIG = 1
Options = dict[str, Any]


def main(options_text: str, handler: str) -> NoReturn:
    """Run *handler* until its environment ends; ends with the runtime client's exit status."""
    options = json.loads(options_text)
    # Bounds a log without end, and each file where /tmp is not private.
    resource.setrlimit(resource.RLIMIT_FSIZE, (options["tmp_mb"] << 20, resource.RLIM_INFINITY))
    if not options["isolated"]:
        _run_client(options, handler)
    _leave_namespaces()
    status, report = os.pipe()
    lifeline, held = os.pipe()
    outer = os.getpid()
    first = os.fork()
    if first == 0:
        for descriptor in (status, held):
            os.close(descriptor)
        _run_first_process(options, handler, outer, lifeline, report)
    for descriptor in (lifeline, report):
        os.close(descriptor)
    code = int(os.read(status, 16) or -signal.SIGKILL)
    os.waitpid(first, 0)
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler to replace
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _leave_namespaces() -> None:
    """Enter new namespaces for mounts and processes; without the right to, a new one for users as well."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(NEW_MOUNTS | NEW_PROCESSES) == 0:
        return
    _checked(libc.unshare(NEW_MOUNTS | NEW_PROCESSES | NEW_USERS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _run_first_process(options: Options, handler: str, outer: int, lifeline: int, report: int) -> NoReturn:
    """Be process 1 of the namespace: all its processes end with this one, which ends with the process *outer*."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _mount(options)
        with suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(outer - 1))  # the function's process id is the one that it has outside
        if not handler:
            code = 0
        elif (worker := os.fork()) == 0:
            for descriptor in (lifeline, report):
                os.close(descriptor)
            _limit_processes()
            _run_client(options, handler)
        else:
            code = _await_end(worker, lifeline)
    finally:
        os.write(report, str(code).encode())
        os._exit(0)


def _await_end(worker: int, lifeline: int) -> int:
    """The exit code of *worker*; ends all processes if they are too many, or if the outer process has ended."""
    with suppress(OSError):  # root only; the limit of _limit_processes does not apply to root
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    watched = select.poll()
    ended = os.pidfd_open(worker)
    for descriptor in (ended, lifeline):
        watched.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in watched.poll(POLL_MILLISECONDS)}
        if ended in ready:
            return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if lifeline in ready:
            return -signal.SIGKILL
        if sum(name.isdigit() for name in os.listdir("/proc")) > MAX_PROCESSES:
            os.write(2, f"the function has more than {MAX_PROCESSES} processes\n".encode())
            return -signal.SIGKILL
        with suppress(ChildProcessError):  # processes whose parent has ended
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid != worker:
                os.waitpid(found.si_pid, 0)


def _limit_processes() -> None:
    """Limit the processes of an ordinary user; before Linux 5.14 the limit would count those outside, too."""
    major, minor = os.uname().release.split(".")[:2]
    if (int(major), int(minor)) >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))


def _mount(options: Options) -> None:
    """Make everything read-only, and mount /tmp, the layers at /opt, and /proc.

    What the environment needs below /tmp is opened first, and then bound into the new one.
    """
    kept = [(path, os.open(path, os.O_PATH)) for path in options["keep"]]
    _call_mount(None, "/", None, PRIVATE, None)
    _set_read_only("/", RECURSIVE, READ_ONLY, 0)
    limits = f"mode=1777,size={options['tmp_mb']}m,nr_inodes={options['tmp_mb'] * FILES_PER_MB}"
    _call_mount("tmpfs", "/tmp", "tmpfs", NO_SUID_OR_DEVICES, limits)  # noqa: S108 - AWS's
    for path, descriptor in kept:
        os.makedirs(path, exist_ok=True)
        _call_mount(f"/proc/self/fd/{descriptor}", path, None, BIND, None)
        os.close(descriptor)
    if bytecode := options["bytecode"]:
        _call_mount(bytecode, bytecode, None, BIND, None)
        _set_read_only(bytecode, 0, 0, READ_ONLY)
    if layers := options["layers"]:
        with suppress(OSError):
            _call_mount(layers, "/opt", None, BIND, None)
    with suppress(OSError):  # in some containers parts of /proc are hidden, and a new one is refused
        _call_mount("proc", "/proc", "proc", NO_SUID_OR_DEVICES, None)
    os.chdir(os.getcwd())


def _call_mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [text and text.encode() for text in (source, target, kind, data)]
    _checked(libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), target)


def _set_read_only(path: str, flags: int, added: int, removed: int) -> None:
    """Change mounts by mount_setattr; before Linux 5.12, which lacks it, other folders can be written."""
    request = struct.pack("=QQQQ", added, removed, 0, 0)
    ctypes.CDLL(None).syscall(MOUNT_SETATTR, HERE, path.encode(), flags, request, len(request))


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


def _run_client(options: Options, handler: str) -> NoReturn:
    """Run AWS's runtime client; it finds the function's code first, then the layers', as on AWS."""
    task = os.getcwd()
    sys.path[:0] = [task, *options["path"]]
    sys.argv = ["awslambdaric", handler]
    if bytecode := options["bytecode"]:
        # Code can only be read, but need not be compiled again for each environment.
        stock: Any = import_system.cache_from_source

        def cached(path: str, *rest: Any, **how: Any) -> Any:
            return f"{bytecode}{path[len(task) :]}c" if path.startswith(task + os.sep) else stock(path, *rest, **how)

        import_system.cache_from_source = cached  # type: ignore[assignment]
    from awslambdaric.__main__ import main as run_client  # noqa: PLC0415 - it is on the new path

    run_client(sys.argv)
    sys.exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:3])
