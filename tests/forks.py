"""Python processes that start at once: forks of one process that has imported the libraries.

Each is a process of its own, with its id, memory, signals and exit code; SIGKILL ends it wherever it is. It imports
TerraSynth itself; what it does not repeat are the seconds that torch, diffusers and transformers take, nor, at its end,
the taking apart of what they made: threads are waited for and exit handlers run, and then it is gone. A test of what is
imported, or of a variable that a library reads while it is imported, wants `subprocess`.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
HUB = ("huggingface_hub.hf_api", "huggingface_hub.hf_file_system", "pyarrow.parquet", "pyarrow.dataset", "pydantic",
       "jinja2", "yaml", "click.testing", "numpy.ma", "PIL.Image")
ALL = (*HUB, "torch._dynamo", "scipy.stats", "datasets", "peft", "accelerate", "torch.utils.tensorboard", "openai",
       "transformers.models.clip.modeling_clip", "transformers.models.clip.tokenization_clip",
       "transformers.models.resnet.modeling_resnet", "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")


class Fork:
    """A process on its way, as `subprocess.Popen` has it.

    Attributes:
        pid: Its id.
        returncode: Exit code, or minus the signal that ended it; nothing before its end is known.
        stdin: What it reads, where `popen` was asked for a pipe.
    """

    def __init__(self, status: int, files: Sequence[IO[bytes]] = (), stdin: IO[Any] | None = None) -> None:
        self._status, self._files, self.stdin = os.fdopen(status), files, stdin
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The return code, if it has ended."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, or so many seconds; gives the return code."""
        if self.returncode is None:
            if timeout is not None and not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end, by SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; gives what it wrote to stdout and stderr."""
        self.wait()
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode())
            file.close()
        return texts[0], texts[1]


class Python:
    """Starts `python ARGUMENTS` as forks of one process.

    Args:
        libraries: Modules that it imports at its start.
        environment: Variables that the libraries are imported under; those of this process, if not given.
    """

    def __init__(self, libraries: Sequence[str] = ALL, environment: Mapping[str, str] | None = None) -> None:
        self._connection, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *libraries]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                             env={name: value for name, value in (environment or os.environ).items()
                                                  if name != "PYTHONPATH"})

    def start(self, *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None,
              stdout: int | None = None, stderr: int | None = None) -> Fork:
        """Start what `python ARGUMENTS` would: `-m MODULE`, `-c CODE` or a script, and what follows.

        Args:
            *arguments: As on a command line.
            cwd: Where it starts.
            env: Its variables; those of this process, if not given.
            stdout: A descriptor to write to; without one, `communicate` gives what it wrote.
            stderr: The same.
        """
        files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - `communicate` closes them
        given = [file.fileno() if other is None else other for file, other in zip(files, (stdout, stderr), strict=True)]
        return Fork(self._start(arguments, cwd, env, dict(zip((1, 2), given, strict=True))), files)

    def popen(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: int | None = None,
              stdout: IO[Any] | None = None, stderr: IO[Any] | None = None, text: bool = False,
              pass_fds: Sequence[int] = (), start_new_session: bool = False, process_group: int | None = None) -> Fork:
        """Start what `subprocess.Popen` would with the same arguments, of which these are taken.

        Args:
            command: `sys.executable` and what `start` takes, after a `-P` perhaps.
            stdin: `subprocess.PIPE`, or nothing is read.
            process_group: 0 for one of its own.
        """
        python, *arguments = command
        if python != sys.executable or process_group not in (None, 0) or stdin not in (PIPE, DEVNULL):
            raise ValueError(f"{command} is not started here")
        given = {number: file.fileno() for number, file in ((1, stdout), (2, stderr)) if file is not None}
        given |= {number: number for number in pass_fds}
        ours = None
        if stdin == PIPE:
            given[0], end = os.pipe()
            ours = os.fdopen(end, "w" if text else "wb")
        group = "session" if start_new_session else "group" if process_group == 0 else ""
        status = self._start(arguments, Path.cwd(), env, given, group)
        if ours:
            os.close(given[0])
        return Fork(status, stdin=ours)

    def _start(self, arguments: Sequence[object], cwd: Path | str, env: Mapping[str, str] | None,
               given: Mapping[int, int], group: str = "") -> int:
        """Descriptors are `given` by the numbers that they have there; returns where its id and its end are told."""
        request = {"arguments": [str(argument) for argument in arguments], "cwd": str(cwd),
                   "environment": dict(os.environ if env is None else env), "numbers": list(given), "group": group}
        status, theirs = os.pipe()
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._connection, [line], [theirs, *given.values()])
            self._connection.sendall(line[sent:])
        os.close(theirs)
        return status

    def run(self, *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None,
            check: bool = False) -> subprocess.CompletedProcess[str]:
        """Start it and wait for its end, as `subprocess.run` does with `capture_output` and `text`."""
        process = self.start(*arguments, cwd=cwd, env=env)
        out, err = process.communicate()
        done = subprocess.CompletedProcess(arguments, process.wait(), out, err)
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}: {err}")
        return done

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Start what a shell asks for while the body runs; gives the command that it writes for `python`."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
            path = Path(folder, "python")
            server.bind(str(path))
            server.listen()
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
            try:
                yield shlex.join([sys.executable, "-I", "-S", str(ROOT / "tests" / "fork_client.py"), str(path)])
            finally:
                server.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):  # it is shut down
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            line, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
            while not line.endswith(b"\n"):
                line += connection.recv(1 << 16)
            request = json.loads(line)
            status = self._start(request["arguments"], request["cwd"], request["environment"],
                                 dict(zip((0, 1, 2), files, strict=True)))
            for file in files:
                os.close(file)
            connection.sendall(f"{Fork(status).wait()}\n".encode())

    def close(self) -> None:
        """End the process; those that it started go on."""
        self._connection.close()
        self._process.wait()


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork twice for each request: a process that says how the other ended, and that other, in which this returns."""
    while True:
        line, files, _, _ = socket.recv_fds(connection, 1 << 16, 16)
        while line and not line.endswith(b"\n"):
            line += connection.recv(1 << 16)
        with suppress(ChildProcessError):  # there is none
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not line:
            return None
        if not os.fork():
            connection.close()
            child = os.fork()
            if not child:
                return _settled(json.loads(line), *files)
            for file in files[1:]:
                os.close(file)  # what it is given is closed with its end
            _say_how_it_ended(child, files[0])
        for file in files:
            os.close(file)


def _settled(request: dict[str, Any], status: int, *files: int) -> dict[str, Any]:
    """Be in the group that was asked for, have descriptors by their numbers, and say the id."""
    match request.pop("group"):
        case "session":
            os.setsid()
        case "group":
            os.setpgid(0, 0)
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 256) for file in (status, *files)]  # above all that are asked for
    for file in (status, *files):
        os.close(file)
    for file, number in zip(high[1:], request.pop("numbers"), strict=True):
        os.dup2(file, number)
    os.write(high[0], f"{os.getpid()}\n".encode())
    for file in high:
        os.close(file)
    return request


def _say_how_it_ended(child: int, status: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def _become(arguments: list[str], cwd: str, environment: dict[str, str]) -> None:
    """Do what `python ARGUMENTS` does."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    safe = arguments[0] == "-P"
    arguments = arguments[safe:]
    kind = arguments.pop(0) if arguments[0] in ("-c", "-m") else ""
    first = [] if safe else [{"-c": "", "-m": cwd}.get(kind, str(Path(arguments[0]).parent))]
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*first, *paths, *sys.path[1:]]
    sys.argv[:] = arguments
    if kind == "-m":
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv[0] = "-c"
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), vars(module))
    else:
        runpy.run_path(arguments[0], run_name="__main__")


class _End:
    """The end of a fork without what Python does last: it would touch, and so copy, all that the libraries made."""

    def __init__(self) -> None:
        self.of_fork, self.error = False, None
        atexit.register(self)  # before any other, so that it is called behind all others

    def __call__(self) -> None:
        """Leave with the code that Python would leave with."""
        if not self.of_fork:
            return
        if isinstance(self.error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        code = 0 if self.error is None else 1
        if isinstance(self.error, SystemExit) and isinstance(self.error.code, int | None):
            code = self.error.code or 0
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            code = 120
        os._exit(code & 0xFF)


if __name__ == "__main__":
    gc.disable()
    _end = _End()
    for _name in sys.argv[2:]:
        importlib.import_module(_name)
    gc.enable()
    gc.freeze()  # the collector of a fork need not walk, and so copy, what is here already
    with socket.socket(fileno=int(sys.argv[1])) as _connection:
        _request = _serve(_connection)
    if _request:
        _end.of_fork = True
        try:
            _become(**_request)
        except BaseException as _error:
            _end.error = _error
            raise
