"""What turns a request into its signature, whatever the venue."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.core.venue import Credentials

BEGINS = "-----BEGIN"
"""How a key in PEM begins."""


def signer(credentials: Credentials, venue: str, *, ed25519: bool) -> Callable[[bytes], str]:
    """What signs bytes: HMAC-SHA256 in hex, or RSA in base64 when the secret is a PEM key, or ``ed25519`` where the
    venue takes such keys. Raises ValueError with the cure.
    """
    text = credentials.secret.reveal().strip()
    if not text:
        raise ValueError("the secret is empty")
    if BEGINS not in text:
        return _hmac(text.encode())
    try:
        private = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):
        raise ValueError("the secret is no readable PEM key: use an unencrypted PKCS#8 private key") from None
    if isinstance(private, Ed25519PrivateKey) and ed25519:
        return lambda data: b64encode(private.sign(data)).decode()
    if isinstance(private, RSAPrivateKey):
        return lambda data: b64encode(private.sign(data, PKCS1v15(), SHA256())).decode()
    kinds = "Ed25519 and RSA keys" if ed25519 else "RSA keys"
    raise ValueError(f"the secret is a key of another kind: {venue} takes {kinds}")


def hmac_signer(credentials: Credentials, venue: str) -> Callable[[bytes], str]:
    """What signs bytes with HMAC-SHA256 in hex, where the venue takes nothing else. Raises ValueError with the cure."""
    text = credentials.secret.reveal().strip()
    if not text or BEGINS in text:
        raise ValueError(f"the secret is empty or a PEM key: {venue} takes the secret that comes with the API key")
    return _hmac(text.encode())


def _hmac(key: bytes) -> Callable[[bytes], str]:
    return lambda data: hmac.new(key, data, hashlib.sha256).hexdigest()
