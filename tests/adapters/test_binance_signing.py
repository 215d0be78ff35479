"""Signatures: published vectors, and keys made here."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from adapters.signing import signer
from agent.core.venue import Ask, Cancel, What
from tests.adapters.binance_kit import NOW, build, call_for, credentials, params

Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def test_the_query_is_signed_as_sent_and_the_signature_comes_last() -> None:
    dialect = build(["测试USDT"])
    call = call_for(dialect, Cancel("a:b/c", 0))
    query, _, signature = urlsplit(call.url).query.rpartition("&signature=")
    assert signature == signer(credentials(), "Binance", ed25519=True)(query.encode())
    assert query == (
        f"symbol=%E6%B5%8B%E8%AF%95USDT&origClientOrderId=a%3Ab%2Fc&recvWindow=3000&timestamp={NOW // 1_000_000}"
    )
    assert call.body == b""
    assert call.headers == (("X-MBX-APIKEY", "key-of-the-test"),)


def pem(key: Private, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def test_ed25519() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    call = call_for(build(credentials=credentials(pem(key))), Ask(What.MODE))
    query, _, signature = urlsplit(call.url).query.rpartition("&signature=")
    assert "+" not in signature
    assert "/" not in signature
    assert "=" not in signature
    key.public_key().verify(b64decode(params(call)["signature"], validate=True), query.encode())


def test_rsa() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    call = call_for(build(credentials=credentials(pem(key))), Ask(What.MODE))
    query = urlsplit(call.url).query.rpartition("&signature=")[0]
    signature = b64decode(params(call)["signature"], validate=True)
    key.public_key().verify(signature, query.encode(), padding.PKCS1v15(), SHA256())


def test_other_and_locked_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="another kind"):
        build(credentials=credentials(pem(ec.generate_private_key(ec.SECP256R1()))))
    locked = pem(ed25519.Ed25519PrivateKey.generate(), b"password")
    with pytest.raises(ValueError, match="unencrypted"):
        build(credentials=credentials(locked))
