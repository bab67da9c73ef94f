"""Connections that send files: the system copies them from the disk to the network, and no byte passes through here.

An application finds `SendFile` in its scope under `SEND_FILE`; it calls it after ``http.response.start`` for the bytes
of a file that belong into the answer there. A client that takes nothing for `ANSWER_SECONDS` is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

import h11

from courier.channel.http_connections import Doors, LimitedProtocol

SEND_FILE = "courier.send_file"
SLICE = 4 << 20
"""Bytes sent at a time, after which it is looked whether the client still takes them."""
ANSWER_SECONDS = 120.0
"""How long a client may take for one slice."""

SendFile = Callable[[BinaryIO, int, int], Awaitable[None]]
"""Send so many bytes of a file from an offset; raises `ConnectionError` when the client is gone, too slow, or the file
has become shorter."""


class FileProtocol(LimitedProtocol):
    """One connection that can send files."""

    def __init__(self, doors: Doors, **of_uvicorn: Any) -> None:
        super().__init__(doors, **of_uvicorn)
        inner = self.app

        async def with_files(scope: Any, receive: Any, send: Any) -> None:
            scope[SEND_FILE] = self._send_file
            await inner(scope, receive, send)

        self.app = with_files

    async def _send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        cycle = self.cycle
        try:
            # h11 counts the bytes of the answer without seeing them.
            self.conn.send_with_data_passthrough(h11.Data(data=_Bytes(count)))  # type: ignore[arg-type]
            while count:
                if cycle.disconnected or self.transport.is_closing():
                    raise ConnectionResetError
                wanted = min(SLICE, count)
                sending = self.loop.sendfile(self.transport, file, offset, wanted, fallback=True)
                sent = await asyncio.wait_for(sending, ANSWER_SECONDS)
                if not sent:
                    raise ConnectionAbortedError
                offset, count = offset + sent, count - sent
        except (OSError, TimeoutError, RuntimeError, h11.LocalProtocolError) as error:
            # Bytes of the answer are missing, and only the end of the connection can tell the client so.
            cycle.disconnected = True
            self.transport.abort()
            raise ConnectionResetError(str(error)) from None


class _Bytes:
    """Stands for bytes that are sent by the system."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count
