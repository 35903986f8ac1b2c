"""A bucket on an S3-compatible server (moto's) in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import obstore
from obstore.store import from_url

_NAME = "heads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One empty bucket, and what reaches it."""

    process: subprocess.Popen[str]
    endpoint: str

    @property
    def url(self) -> str:
        return f"s3://{_NAME}/guilder"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "anna",
            "AWS_SECRET_ACCESS_KEY": "not a secret",
            "AWS_REGION": "us-east-1",
        }

    def make(self) -> None:
        httpx2.put(f"{self.endpoint}/{_NAME}", trust_env=False, timeout=60).raise_for_status()

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(from_url(self.url), name).bytes())

    def names(self) -> list[str]:
        listed = httpx2.get(
            f"{self.endpoint}/{_NAME}?list-type=2", trust_env=False, timeout=60
        ).text
        return sorted(re.findall(r"<Key>guilder/([^<]+)</Key>", listed))


@contextmanager
def bucket_server() -> Iterator[Bucket]:
    """The server, whose bucket is yet to be made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while (found := re.search(r"Running on (http://[\w.:]+)", said)) is None:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield Bucket(process=process, endpoint=found[1])
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
