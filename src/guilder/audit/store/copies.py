"""A copy of published heads in a bucket, as S3 or what speaks as it. It needs the extra ``s3``.

Credentials, region and endpoint come from the usual ``AWS_…`` variables or from the machine's role.
Nothing in the bucket is ever written over, so give it object lock and a key that may only add.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from guilder.audit.api import NotCopied
from guilder.audit.store.publications import HeadsFolder

_PATIENCE: Final = timedelta(seconds=30)


class BucketCopy:
    """The copy at one URL, as ``s3://bucket/prefix``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sent: set[str] | None = None

    async def send(self, folder: HeadsFolder) -> int:
        """Add every file of the folder that the bucket does not have; how many were added.

        Raises:
            NotCopied: the bucket cannot be reached or does not take them; the next call tries.
        """
        files = await asyncio.to_thread(folder.files)
        try:
            return await self._send(files)
        except (BaseError, OSError, ValueError) as error:
            raise NotCopied(f"{self._url}: {type(error).__name__}") from error

    async def _send(self, files: Sequence[Path]) -> int:
        store = from_url(
            self._url,
            retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
        )
        if self._sent is None:
            pages = [page async for page in obstore.list(store)]
            self._sent = {meta["path"] for page in pages for meta in page}
        added = 0
        for path in files:
            if path.name in self._sent:
                continue
            text = await asyncio.to_thread(path.read_bytes)
            try:
                await obstore.put_async(store, path.name, text, mode="create")
                added += 1
            except AlreadyExistsError:
                pass  # another process has sent it meanwhile
            self._sent.add(path.name)
        return added
