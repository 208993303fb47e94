#!/usr/bin/env bash
# S3 answers a put whose condition does not hold with status 412, whichever condition it is. s3fs 2026.9.0 makes a
# FileExistsError of it where the condition was that nothing is there (`mode="create"`, `IfNoneMatch`), and an OSError
# with errno EINVAL, "invalid argument", where it was that the object is still what it was (`IfMatch`). So who lost a
# race looks like who asked for nonsense, and code that tries again on anything but EINVAL gives up. Look at the status
# of the error below (`error.__cause__.response`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  s3fs==2026.9.0 fsspec==2026.9.0 aiobotocore==3.10.0 'moto[server]==5.2.5' python-dateutil==2.9.0.post0
export AWS_ACCESS_KEY_ID=made AWS_SECRET_ACCESS_KEY=up AWS_DEFAULT_REGION=us-east-1
cat >"$work/conditions.py" <<'PYTHON_CODE'
import errno
import logging

import fsspec
import s3fs
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server.start()


def refusal(**condition):
    try:
        s3.pipe_file("bucket/letters", b"new", **condition)
    except OSError as error:
        below = getattr(error.__cause__, "response", {})
        status = below.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return type(error).__name__, errno.errorcode.get(error.errno), status
    return None


try:
    host, port = server.get_host_and_port()
    s3 = fsspec.filesystem("s3", endpoint_url=f"http://{host}:{port}", use_listings_cache=False)
    s3.mkdir("bucket")
    s3.pipe_file("bucket/letters", b"abcdef")
    print("s3fs", s3fs.__version__)
    made = refusal(mode="create")
    none = refusal(IfNoneMatch="*")
    match = refusal(IfMatch='"0123456789abcdef0123456789abcdef"')
    print("create:", made, "| IfNoneMatch:", none, "| IfMatch:", match)
    held = s3.cat_file("bucket/letters")
finally:
    server.stop()
assert held == b"abcdef"
assert made[0] == none[0] == "FileExistsError"
assert match == ("OSError", "EINVAL", 412), "a condition that fails is another error now"
PYTHON_CODE
"$work/venv/bin/python" "$work/conditions.py"
