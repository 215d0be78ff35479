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

FUTURES = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@pytest.mark.parametrize(
    ("secret", "payload", "signature"),
    [
        (
            FUTURES,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
            "&timestamp=1591702613943",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            FUTURES,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000&recvWindow=5000"
            "&timestamp=1591702613943",
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
        ),
        (
            SPOT,
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
            "&timestamp=1499827319559",
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (SPOT, "timestamp=1578963600000", "d84e6641b1e328e7b418fff030caed655c266299c9355e36ce801ed14631eed4"),
        (
            SPOT,
            "apiKey=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A&newOrderRespType=ACK"
            "&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL&symbol=BTCUSDT&timeInForce=GTC"
            "&timestamp=1645423376532&type=LIMIT",
            "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a",
        ),
    ],
)
def test_published_vectors(secret: str, payload: str, signature: str) -> None:
    assert signer(credentials(secret), "Binance", ed25519=True)(payload.encode()) == signature
    assert signer(credentials(f" {secret}\n"), "Binance", ed25519=True)(payload.encode()) == signature


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
