"""Word to the service manager: systemd's notification datagrams. Without one listening, nothing happens."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def ready() -> None:
    """Start-up is over: the account is known and the agent is at work."""
    send("READY=1")


def status(text: str) -> None:
    """One line on how things are, shown by ``systemctl status``."""
    send("STATUS=" + " ".join(text.split()))


def watchdog() -> None:
    """Still deciding. To be called by what decides, never by a timer of its own."""
    send("WATCHDOG=1")


def stopping() -> None:
    """Shut-down has begun."""
    send("STOPPING=1")


def watchdog_interval() -> float | None:
    """Seconds between two calls of `watchdog`: half of what the service manager allows; None when it doesn't watch."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not allowed.isascii() or not allowed.isdigit() or int(allowed) == 0 or watched != str(os.getpid()):
        return None
    return int(allowed) / 2_000_000


def send(message: str) -> None:
    """Send one datagram to ``$NOTIFY_SOCKET``, if there is one. Never waits; a failure is logged, not raised."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
            out.sendto(message.encode(), address)
    except OSError as error:
        log.warning("the service manager could not be told %s: %s", message.partition("=")[0], error)
