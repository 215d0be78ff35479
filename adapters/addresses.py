"""Addresses that requests and signatures may be sent to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit


def pinned(name: str, url: str, schemes: tuple[str, str], domains: Sequence[str], venue: str) -> str:
    """The address, if it leads to one of the venue's domains, or to this machine: no typo sends signatures elsewhere.

    ``schemes`` are the secure one and the plain one, which is for this machine alone. Raises ValueError with the cure.
    """
    secure, plain = schemes
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{name}: not an address, write {secure}://host") from None
    home = host == "localhost" or _loopback(host)
    ours = any(host == domain or host.endswith(f".{domain}") for domain in domains)
    clean = re.fullmatch(r"[a-z0-9.:-]+", host) and re.fullmatch(r"[A-Za-z0-9/._-]*", parts.path)
    if not clean or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{name}: write {secure}://host alone, without user, query or spaces")
    if not (home and parts.scheme in schemes) and not (ours and parts.scheme == secure):
        raise ValueError(
            f"{name}: {parts.scheme}://{host} is not {venue}: use {secure}:// with a host under "
            f"{' or '.join(domains)}, or {plain}://127.0.0.1 for a local exchange"
        )
    netloc = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{netloc}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def together(rest_url: str, stream_url: str, sites: Sequence[tuple[str, ...]]) -> None:
    """Whether requests and streams are of one environment; prices of one must not move the account of another.

    Both were `pinned`. ``sites`` are the domains of each environment: the first that fits counts. Raises ValueError
    with the cure.
    """

    def site(url: str) -> int:
        host = f"{urlsplit(url).hostname}"
        return next((n for n, site in enumerate(sites) if any(host.endswith(domain) for domain in site)), -1)

    if site(rest_url) != site(stream_url):
        raise ValueError(
            f"stream_url: {stream_url} and rest_url {rest_url} belong to two environments: give both or neither"
        )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
