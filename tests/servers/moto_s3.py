"""moto's S3: another's implementation, against which ours and the clients are held. It is slow: 300 GETs/s."""

from __future__ import annotations

import logging
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from servers.relay import Relay
from servers.settings import ACCESS_KEY, REGION, SECRET_KEY


def start_moto(root: str) -> Relay:
    """A relay to moto's server, which holds each folder of `root` as a bucket. Its thread ends with the process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
    )
    for bucket in sorted(Path(root).iterdir()):
        client.create_bucket(Bucket=bucket.name)
        for path in sorted(path for path in bucket.rglob("*") if path.is_file()):
            key = path.relative_to(bucket).as_posix()
            client.put_object(Bucket=bucket.name, Key=key, Body=path.read_bytes(), ACL="public-read")
    return Relay(port)
