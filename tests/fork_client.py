"""What a shell calls in the place of `python ARGUMENTS` where processes start as forks: `fork_client.py SOCKET ...`.

It hands its folder, its variables and its three descriptors to `tests.forks.Python.listening`, waits, and ends with the
code of the process. Nothing but the standard library is imported, so that it costs some hundredths of a second.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    request = {"arguments": sys.argv[2:], "cwd": os.getcwd(), "environment": dict(os.environ)}
    line = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [line], [0, 1, 2])
    connection.sendall(line[sent:])
    code = int(connection.makefile().readline())
sys.exit(code if code >= 0 else 128 - code)
