"""Connections that bring no request: uvicorn bounds them not, and answers them in plain text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

_Uvicorn: Any = AutoHTTPProtocol  # of h11 or of httptools, whichever is installed


_NO_REQUEST = json.dumps({"error": "this is no HTTP request; send one of HTTP/1.1, without TLS"}).encode()
_REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)


def bounded_connections(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol that closes a connection whose next request does not begin.

    uvicorn waits for the head of a request for as long as a client likes, so that each one that stops in the
    middle keeps a connection and a file descriptor.

    Args:
        seconds: after which a connection is looked at that has no request, and after which it is closed if
            there is still none: it is open for at most twice as long.
    """

    class Bounded(_Uvicorn):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._later(self.cycle)

        def connection_lost(self, error: Exception | None) -> None:
            self._look.cancel()
            super().connection_lost(error)

        def send_400_response(self, _message: str) -> None:
            """Refuse what is no request, in JSON as all that is refused."""
            self.transport.write(_REFUSED % (len(_NO_REQUEST), _NO_REQUEST))
            self.transport.close()

        def _later(self, last: Any) -> None:
            self._look = asyncio.get_running_loop().call_later(seconds, self._close_if_nothing_came, last)

        def _close_if_nothing_came(self, last: Any) -> None:
            request = self.cycle
            if request is last and (request is None or request.response_complete):
                self.transport.close()
            else:
                self._later(request)

    return Bounded
