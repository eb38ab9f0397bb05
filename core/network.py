"""Connections that end: what fetches files for us has no limit of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def network_timeout(seconds: float) -> Iterator[None]:
    """Bound every wait of the connections made inside, as torchvision's downloads do not."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
