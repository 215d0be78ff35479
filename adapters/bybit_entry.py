"""Order entry of Bybit over a websocket: the frames that place and cancel orders, and what answers them.

The session logs in once; no frame is signed. An answer echoes ``reqId`` and says as much as one over HTTP: that the
request was received.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder, encode

from adapters.reading import MISREAD
from agent.core.venue import Reply

SOCKET: Final = "entry"
OPS: Final = {"/v5/order/create": "order.create", "/v5/order/cancel": "order.cancel"}
"""What is said for a request that would otherwise go to this path."""


class Said(Struct, frozen=True):
    """A frame that answers a request."""

    reqId: Annotated[str, Meta(pattern=r"\A[0-9]{1,14}-[0-9]{1,18}\Z")]
    retCode: int
    retMsg: str = ""
    data: Raw = Raw(b"{}")
    retExtInfo: Raw = Raw(b"{}")
    header: dict[str, str] = {}


_SAID: Final = Decoder(Said)


class BybitEntry:
    """The websocket at ``url``."""

    socket = SOCKET

    def __init__(self, url: str) -> None:
        self.url = url
        self.up = False
        """It has logged in, and every order said on it so far was answered."""

    def frame(self, tag: int, path: str, body: Mapping[str, object], stamp_ms: int, window_ms: int) -> bytes:
        """A request as it is said, under a name that is never said again: its moment and its number."""
        header = {"X-BAPI-TIMESTAMP": str(stamp_ms), "X-BAPI-RECV-WINDOW": str(window_ms)}
        return encode({"reqId": f"{stamp_ms}-{tag}", "header": header, "op": OPS[path], "args": [body]})

    def answer(self, data: bytes) -> tuple[int, Reply] | None:
        """The tag of the call that a frame answers, and the answer as it would come over HTTP."""
        try:
            said = _SAID.decode(data)
        except MISREAD:
            return None
        body = {"retCode": said.retCode, "retMsg": said.retMsg, "result": said.data, "retExtInfo": said.retExtInfo}
        headers = {name.lower(): value for name, value in said.header.items()}
        return int(said.reqId.partition("-")[2]), Reply(200, headers, encode(body))
