"""``cmlm-kd serve``: a model behind HTTP."""

from __future__ import annotations

import argparse
import signal
import socket
from pathlib import Path

from cmlm_kd.cli.arguments import add_device, chosen_device
from cmlm_kd.errors import UserError

HELP = "answer HTTP requests with an exported model or a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "model", type=Path, metavar="DIR", help="what 'cmlm-kd export' wrote, or a checkpoint"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; the default is for this computer alone"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 to 65535; 0: any that is free")
    group = parser.add_argument_group("limits")
    group.add_argument("--max-texts", type=int, default=64, help="of a request")
    group.add_argument("--max-characters", type=int, default=5000, help="of a text")
    group.add_argument("--max-body", type=int, default=1 << 20, metavar="BYTES", help="of a request")
    group.add_argument("--max-waiting", type=int, default=1024, help="texts of all requests that wait")
    group.add_argument("--max-batch", type=int, default=64, help="texts that the model is given together")
    group.add_argument(
        "--max-seconds",
        type=float,
        default=30.0,
        help="until a request that waits, or does not come, is given up, above 0; a connection without one "
        "is closed, after at most twice as long",
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port is {arguments.port}; it must be from 0 to 65535")
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; run: pip install 'cmlm-kd[serve]'") from None
    from cmlm_kd.deployment.connections import bounded_connections
    from cmlm_kd.deployment.loaded import load
    from cmlm_kd.deployment.service import Limits, create_app

    limits = Limits(
        texts=arguments.max_texts,
        characters=arguments.max_characters,
        body=arguments.max_body,
        waiting=arguments.max_waiting,
        batch=arguments.max_batch,
        seconds=arguments.max_seconds,
    )
    model = load(arguments.model, device=chosen_device(arguments, arguments.model))
    config = uvicorn.Config(
        create_app(model, limits),
        http=bounded_connections(arguments.max_seconds),
        host=arguments.host,
        port=arguments.port,
        log_config=None,  # its own would shut every handler of this process first
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(arguments.max_seconds) + 1,
    )
    server = uvicorn.Server(config)
    with _listening(arguments.host, arguments.port) as listening:
        print(f"{model.description}: {_address(listening)}", flush=True)
        # uvicorn answers what it has begun, and raises the signal again: the end is as it should be.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        server.run(sockets=[listening])


_WAITING_CLIENTS = 2048
"""Connections that are not accepted yet; uvicorn's own number."""


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens: who has read the address may ask at once.

    Raises:
        UserError: the address is taken, or none of this computer's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on: head and body of an answer are two packets, and
    # the second would wait for the client's acknowledgement of the first, 40 ms on Linux.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_WAITING_CLIENTS)
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); give another --port or --host"
        ) from None
    return listening


def _address(listening: socket.socket) -> str:
    """Return where a socket listens, as clients take it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
