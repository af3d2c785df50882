#!/usr/bin/env bash
# Package:  uvicorn 0.54.0 with Python's own asyncio (seen with 3.11)
#
# Expected: connections of uvicorn have TCP_NODELAY, however it was started, since asyncio sets it on every TCP connection.
# Happens:  asyncio sets it where the socket says that its protocol is TCP. uvicorn's Config.bind_socket, which makes the socket
#           for --workers and --reload and for Server.run(sockets=...), leaves the protocol at 0, as socket.socket() does, and
#           accepted sockets have that of the listening one. So Nagle's algorithm stays on in these modes. uvicorn sends head and
#           body of an answer as two packets, so that on Linux the body waits for the client's delayed acknowledgement: 40 ms
#           for each answer on a connection that is kept, whatever it costs to make.
# Meaning:  make the socket with socket.socket(family, SOCK_STREAM, IPPROTO_TCP), or set the option in the protocol; with one
#           worker and no socket of one's own there is nothing to do.
#
# Output seen:
#   uvicorn binds in its loop (one worker): TCP_NODELAY on
#   Config.bind_socket (--workers, --reload): TCP_NODELAY off
#   a socket that is named as TCP: TCP_NODELAY on
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check uvicorn==0.54.0

cat > nagle.py <<'PYTHON'
import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def without_delay(given):
    """Return whether the first connection has TCP_NODELAY; given: a socket, or None."""
    found = asyncio.get_running_loop().create_future()

    class Protocol(H11Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            connection = transport.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)

    config = uvicorn.Config(app, http=Protocol, port=0, lifespan="off", log_level="error", loop="asyncio")
    server = uvicorn.Server(config)
    listening = config.bind_socket() if given == "bind_socket" else given
    running = asyncio.create_task(server.serve(sockets=listening and [listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    place = server.servers[0].sockets[0].getsockname()
    _, writer = await asyncio.open_connection(*place)
    result = await found
    writer.close()
    server.should_exit = True
    await running
    return result


def named():
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return listening


ways = {
    "uvicorn binds in its loop (one worker)": None,
    "Config.bind_socket (--workers, --reload)": "bind_socket",
    "a socket that is named as TCP": named(),
}
seen = []
for name, given in ways.items():
    seen.append(asyncio.run(without_delay(given)))
    print(f"{name}: TCP_NODELAY {'on' if seen[-1] else 'off'}")
assert seen == [True, False, True]
PYTHON
venv/bin/python nagle.py 2> log || { tail -20 log; exit 1; }
