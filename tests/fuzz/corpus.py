"""Whole frames, answers and files to break: what the local exchange says in a storm, and what it never says by hand."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from adapters.simulator.faults import Faults, RequestFault
from agent.core.desk import Answer, Frame, Input
from agent.core.orders import S
from agent.core.venue import Ask, Request
from tests.storm.storm import prepare
from tests.storm.world import START, World

PAYLOADS = Path(__file__).parents[2].parent / "shared" / "venues" / "payloads" / "binance"
"""Samples of the venue's own, where they are beside the project."""
CLIENT_ID = re.compile(rb"tt[0-9a-z]{15}")
EACH = 6
"""Specimens of each kind: more of one kind break in the same places."""
RECORD_NS = 45 * S

ID = "tt0a000100000001x"
"""Of the order that all answers are about."""
ORDER = (
    b'{"symbol":"BTCUSDT","clientOrderId":"tt0a000100000001x","orderId":7,"status":"PARTIALLY_FILLED","side":"BUY",'
    b'"origQty":"0.006","executedQty":"0.002","cumQuote":"200","avgPrice":"100000","price":"100001.0","type":"LIMIT",'
    b'"timeInForce":"GTC","reduceOnly":false,"positionSide":"BOTH","time":1790000000000,"updateTime":1790000000000}'
)

BY_HAND = {
    "private": (
        b'{"e":"listenKeyExpired","E":1790000000000,"listenKey":"abc"}',
        b'{"e":"MARGIN_CALL","E":1790000000000,"cw":"3.1","p":[{"s":"ETHUSDT","ps":"LONG","pa":"1.3","mt":"CROSSED",'
        b'"iw":"0","mp":"187.1","up":"-1.1","mm":"1.6"}]}',
        b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1790000000000,"T":1790000000000,"ac":{"s":"BTCUSDT","l":25}}',
        b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1790000000000,"T":1790000000000,"ai":{"j":true}}',
        b'{"e":"TRADE_LITE","E":1790000000000,"T":1790000000000,"s":"BTCUSDT","q":"0.001","p":"0","m":false,"c":"x",'
        b'"S":"BUY","L":"100000","l":"0.001","t":1,"i":2}',
        b'{"e":"ALGO_UPDATE","T":1790000000000,"E":1790000000000,"o":{"caid":"x","aid":1,"s":"BTCUSDT","X":"NEW"}}',
        b'{"e":"ACCOUNT_UPDATE","E":1790000000000,"T":1790000000000,"a":{"m":"FUNDING_FEE","B":[{"a":"USDT",'
        b'"wb":"122624.1","cw":"100.1","bc":"-5.5"}]}}',
        b'{"e":"ORDER_TRADE_UPDATE","T":1790000000000,"E":1790000000000,"o":{"s":"BTCUSDT","c":"autoclose-1","S":"SELL",'
        b'"o":"LIMIT","f":"IOC","q":"0.014","p":"9910","ap":"9910","sp":"0","x":"CALCULATED","X":"FILLED","i":8,'
        b'"l":"0.014","z":"0.014","L":"9910","n":"0.1","N":"USDT","T":1790000000000,"t":9,"m":false,"R":true,"ps":"BOTH"}}',
        b'{"result":null,"id":1}',
    ),
    "market": (
        b'{"stream":"!contractInfo","data":{"e":"contractInfo","E":1790000000000,"s":"BTCUSDT","ps":"BTCUSDT",'
        b'"ct":"PERPETUAL","cs":"SETTLING","bks":[{"bs":1,"bnf":0,"bnc":5000,"mmr":0.01,"cf":0,"mi":21,"ma":50}]}}',
        b'{"stream":"!markPrice@arr","data":[{"e":"markPriceUpdate","E":1790000000000,"s":"BTCUSDT","p":"100000",'
        b'"i":"100001","P":"1","r":"0.0001","T":1790003600000}]}',
        b'{"result":null,"id":1}',
        b'{"code":2,"msg":"Invalid request","id":2}',
    ),
    "public": (
        b'{"stream":"btcusdt@depth20@100ms","data":{"e":"depthUpdate","E":1790000000000,"T":1790000000000,"s":"BTCUSDT",'
        b'"U":1,"u":2,"pu":0,"b":[["99999.90","1.5"],["99999.80","2"]],"a":[["100000.10","1"],["100000.20","0.5"]]}}',
    ),
    "failure": (
        b'{"code":-2013,"msg":"Order does not exist."}',
        b'{"code":-2011,"msg":"Unknown order sent."}',
        b'{"code":-4116,"msg":"ClientOrderId is duplicated."}',
        b'{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until 1790000060000."}',
        b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}',
        b'{"code":-2019,"msg":"Margin is insufficient."}',
        b'{"code":-1015,"msg":"Too many new orders; current limit is 1200 orders per MINUTE."}',
        b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}',
        b"Service Unavailable.",
        b"<html><head><title>502 Bad Gateway</title></head></html>",
        b"",
    ),
    "order": (ORDER,),
    "Cancel": (ORDER.replace(b"PARTIALLY_FILLED", b"CANCELED"),),
    "orders": (b"[" + ORDER + b"]",),
    "trades": (
        b'[{"symbol":"BTCUSDT","id":698759,"orderId":7,"side":"BUY","price":"100000.1","qty":"0.002","realizedPnl":"0",'
        b'"quoteQty":"200","commission":"0.08","commissionAsset":"USDT","time":1790000000000,"positionSide":"BOTH",'
        b'"buyer":true,"maker":false}]',
    ),
    "rights": (
        b'{"ipRestrict":true,"createTime":1787702400000,"enableReading":true,"enableWithdrawals":false,'
        b'"enableInternalTransfer":false,"enableFutures":true,"permitsUniversalTransfer":false,"enableMargin":false,'
        b'"tradingAuthorityExpirationTime":1797702400000,"enableSpotAndMarginTrading":false}',
    ),
    "Batch": (
        b'[{"symbol":"BTCUSDT","clientOrderId":"tt0a000100000001x","orderId":7,"status":"NEW","executedQty":"0",'
        b'"updateTime":1790000000000},{"code":-2022,"msg":"ReduceOnly Order is rejected."}]',
    ),
    "SetLeverage": (b'{"leverage":21,"maxNotionalValue":"1000000","symbol":"BTCUSDT"}',),
    "Arm": (b'{"symbol":"BTCUSDT","countdownTime":"120000"}',),
}


class Corpus(Struct, frozen=True):
    """What there is to break: frames by socket, answers by what was asked, and failures of requests."""

    frames: dict[str, tuple[bytes, ...]]
    answers: dict[str, tuple[bytes, ...]]
    failures: tuple[bytes, ...]


def about(request: Request) -> str:
    """What a request is about, in a word."""
    return str(request.what) if isinstance(request, Ask) else type(request).__name__


class Recording(World):
    """A world that keeps some of each kind of frame and answer."""

    def start(self) -> None:
        """Begin to keep."""
        self.frames: dict[str, list[bytes]] = {}
        self.answers: dict[str, list[bytes]] = {}
        self.kinds: Counter[tuple[str, object]] = Counter()

    def _take(self, arrived: Input) -> None:
        match arrived:
            case Frame(socket=socket, data=data):
                event = msgspec.json.decode(data)
                event = event.get("data", event)
                order = event.get("o", {})
                self._keep(self.frames, socket, (event.get("e"), order.get("x"), order.get("X")), data)
            case Answer(call=tag, reply=reply) if tag in self.desk.calls and reply.status == 200:
                self._keep(self.answers, about(self.desk.calls[tag][1].request), "", reply.body)
            case _:
                pass
        super()._take(arrived)

    def _keep(self, into: dict[str, list[bytes]], where: str, kind: object, data: bytes) -> None:
        self.kinds[where, kind] += 1
        if self.kinds[where, kind] <= EACH and data not in into.setdefault(where, []):
            into[where].append(data)


@cache
def recorded() -> Corpus:
    """What a storm brought, with what it never brings."""
    faults = Faults(seed=3, delay_ms=20.0, requests=(RequestFault("lose reply", chance=0.2),))
    template = prepare(3, faults)
    world = Recording(template.policy, template.exchange.market, template.account, faults, speed=600.0)
    world.start()
    world.run(START + RECORD_NS)
    frames = {socket: (*found, *BY_HAND.get(socket, ())) for socket, found in world.frames.items()}
    answers = {what: (*found, *BY_HAND.get(what, ())) for what, found in world.answers.items()}
    for what, by_hand in BY_HAND.items():
        if what not in (*frames, "failure"):
            answers[what] = (*answers.get(what, ()), *by_hand)
    answers["Place"] = tuple(CLIENT_ID.sub(ID.encode(), body) for body in answers["Place"])
    if PAYLOADS.is_dir():
        frames["private"] += tuple(_events("ws_user_*.json"))
        frames["market"] += tuple(_streams("ws_mark_*.json", "ws_contract_*.json"))
        frames["public"] += tuple(_streams("ws_book_*.json", "ws_depth_*.json"))
    failures = BY_HAND["failure"] + tuple(path.read_bytes() for path in sorted(PAYLOADS.glob("rest_error_*.json")))
    return Corpus(frames, answers, failures)


def _events(*patterns: str) -> list[bytes]:
    """The events in samples, one by one, about an instrument of ours."""
    found: list[object] = []
    for path in sorted(path for pattern in patterns for path in PAYLOADS.glob(pattern)):
        told = msgspec.json.decode(path.read_bytes())
        found += told if isinstance(told, list) else [told]
    return [msgspec.json.encode(event).replace(b"TRXUSDT", b"BTCUSDT") for event in found]


def _streams(*patterns: str) -> list[bytes]:
    return [b'{"stream":"btcusdt@depth20@100ms","data":' + event + b"}" for event in _events(*patterns)]
