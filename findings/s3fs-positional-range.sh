#!/usr/bin/env bash
# fsspec says `cat_file(path, start=None, end=None)`, and the file systems for local disks and memory read a range by
# the second and third place. s3fs 2026.9.0 has `version_id` second, so that the same call takes the start of the range
# for the version of an object and the end for its start: asked for bytes 1 to 3, it ends in a ParamValidationError of
# botocore about a VersionId that nobody gave. Give ranges by keyword.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  s3fs==2026.9.0 fsspec==2026.9.0 aiobotocore==3.10.0 'moto[server]==5.2.5' python-dateutil==2.9.0.post0
export AWS_ACCESS_KEY_ID=made AWS_SECRET_ACCESS_KEY=up AWS_DEFAULT_REGION=us-east-1
cat >"$work/ranges.py" <<'PYTHON_CODE'
import inspect
import logging

import fsspec
import s3fs
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server.start()
try:
    host, port = server.get_host_and_port()
    s3 = fsspec.filesystem("s3", endpoint_url=f"http://{host}:{port}", use_listings_cache=False)
    s3.mkdir("bucket")
    s3.pipe_file("bucket/letters", b"abcdef")
    memory = MemoryFileSystem()
    memory.pipe_file("/letters", b"abcdef")
    print("s3fs", s3fs.__version__, "fsspec", fsspec.__version__)
    print("places of s3fs:", list(inspect.signature(s3fs.S3FileSystem._cat_file).parameters)[1:])
    by_place = memory.cat_file("/letters", 1, 3)
    by_name = s3.cat_file("bucket/letters", start=1, end=3)
    try:
        seen = s3.cat_file("bucket/letters", 1, 3)
    except Exception as error:
        seen = f"{type(error).__name__}: {error}"
    print("memory by place:", by_place, "| s3 by name:", by_name, "| s3 by place:", seen)
finally:
    server.stop()
assert by_place == by_name == b"bc"
assert "VersionId" in str(seen), "s3fs takes the second place for something else now"
PYTHON_CODE
"$work/venv/bin/python" "$work/ranges.py"
