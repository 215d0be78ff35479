"""Checks signatures as the venue's gateway does: over the bytes that came, not over a re-encoding."""

import base64
import binascii
import hashlib
import hmac
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def signed_part(query: str, body: str) -> str:
    """What a client has signed: the query string and the body, joined, without the signature."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(text: str) -> str:
    if "signature=" not in text:
        return text
    return "&".join(pair for pair in text.split("&") if not pair.startswith("signature="))


class Verifier:
    """Checks the signatures of one key: HMAC-SHA256 with a secret, else Ed25519 or RSA."""

    def __init__(self, secret: str, public_key: str | None) -> None:
        self._secret = secret.encode()
        self._key = load_pem_public_key(public_key.encode()) if public_key else None

    def digest(self, payload: bytes) -> bytes:
        """The HMAC-SHA256 of a payload with the secret."""
        return hmac.new(self._secret, payload, hashlib.sha256).digest()

    @property
    def ed25519(self) -> bool:
        """Whether it is an Ed25519 key."""
        return isinstance(self._key, Ed25519PublicKey)

    def accepts(self, payload: str, signature: str) -> bool:
        """Whether this is the key's signature of the payload."""
        if self._key is None:
            return hmac.compare_digest(self.digest(payload.encode()).hex(), signature.lower())
        try:
            raw = base64.b64decode(signature, validate=True)
        except binascii.Error:
            return False
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(raw, payload.encode())
            elif isinstance(self._key, RSAPublicKey):
                self._key.verify(raw, payload.encode(), PKCS1v15(), hashes.SHA256())
            else:
                return False
        except InvalidSignature:
            return False
        return True


def decode_pairs(text: str) -> dict[str, str]:
    """The parameters of a query string or form body; of a repeated name the first counts."""
    found: dict[str, str] = {}
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if "%" in pair or "+" in pair:
                name, value = unquote_plus(name), unquote_plus(value)
            found.setdefault(name, value)
    return found
