"""The account paths of MEXC's contract interface: wallets, positions, settings, history."""

from typing import Any

from adapters.simulator.account import Position
from adapters.simulator.mexc_call import Call, Endpoint, Route, paged
from adapters.simulator.mexc_errors import WireError
from adapters.simulator.mexc_views import View, num


def _assets(call: Call) -> list[View]:
    return [call.views.asset(call.account)]


def _asset(call: Call) -> View:
    if call.parts[0] != call.account.asset:
        raise WireError(600)
    return call.views.asset(call.account)


def _positions(call: Call) -> list[View]:
    wanted = set(call.symbols())
    return [call.views.position(call.account, held) for held in call.account.held() if held.symbol in wanted]


def _mode(call: Call) -> int:
    return 1 if call.account.hedge else 2


def _set_mode(call: Call) -> None:
    mode = call.params.integer("positionMode")
    if mode not in (1, 2):
        raise WireError(600)
    call.exchange.set_hedge(call.account, mode == 1)
    call.side.streams.tell_mode(call.account.api_key)


def _leverage(call: Call) -> list[View]:
    symbol, account = call.symbol(), call.account
    one = call.exchange.instruments[symbol]
    leverage = account.leverage(symbol)
    tiers = call.views.tiers(one)
    fitting = [tier for tier in tiers if tier["maxLeverage"] >= leverage] or tiers[:1]
    return [
        {
            "level": fitting[-1]["level"],
            "maxVol": fitting[-1]["maxVol"],
            "mmr": fitting[-1]["mmr"],
            "imr": fitting[-1]["imr"],
            "positionType": direction,
            "openType": 1 if account.is_isolated(symbol) else 2,
            "leverage": leverage,
            "limitBySys": False,
            "currentMmr": fitting[0]["mmr"],
        }
        for direction in (1, 2)
    ]


def _set_leverage(call: Call) -> None:
    """By the number of a position, or by symbol, direction and kind of margin. Both directions share one setting."""
    fields, account = call.params, call.account
    leverage = fields.integer("leverage")
    if "positionId" in fields:
        call.exchange.set_leverage(account, _numbered(call).symbol, leverage)
        return
    symbol, isolated = call.symbol(), _open_type(call)
    if fields.integer("positionType") not in (1, 2):
        raise WireError(2022)
    if isolated != account.is_isolated(symbol):
        call.exchange.set_isolated(account, symbol, isolated)
    call.exchange.set_leverage(account, symbol, leverage)


def _open_type(call: Call) -> bool:
    kind = call.params.integer("openType")
    if kind not in (1, 2):
        raise WireError(2002)
    return kind == 1


def _numbered(call: Call) -> Position:
    held = call.views.numbered(call.account, call.params.integer("positionId"))
    if held is None:
        raise WireError(2009)
    return held


def _change_margin(call: Call) -> None:
    held, amount, kind = _numbered(call), call.params.number("amount"), call.params.text("type")
    if amount <= 0 or kind not in ("ADD", "SUB"):
        raise WireError(600)
    call.exchange.move_margin(call.account, held.symbol, held.side, amount if kind == "ADD" else -amount)


def _risk_limits(call: Call) -> View:
    rows = {}
    for symbol in call.symbols():
        name = call.views.names[symbol]
        tiers = call.views.tiers(call.exchange.instruments[symbol])
        rows[name] = [{**tiers[0], "symbol": name, "positionType": direction} for direction in (2, 1)]
    return rows


def _fees(call: Call) -> View:
    call.symbols()
    fees = call.exchange.fees
    return {
        "level": 0,
        "dealAmount": float(call.exchange.ledger.of(call.account.api_key).turnover),
        "walletBalance": float(call.account.wallet),
        "makerFee": num(fees.maker),
        "takerFee": num(fees.taker),
        "makerFeeDiscount": 1,
        "takerFeeDiscount": 1,
    }


def _funding_records(call: Call) -> View:
    wanted = set(call.symbols())
    rows = [
        {
            "id": row.id,
            "symbol": call.views.names[row.symbol],
            "positionType": 1,
            "positionValue": 0,
            "funding": float(row.amount),
            "rate": 0,
            "settleTime": row.at_ms,
        }
        for row in reversed(call.exchange.ledger.income)
        if row.account == call.account.api_key and row.kind == "FUNDING_FEE" and row.symbol in wanted
    ]
    return paged(call, rows)


def _transfers(call: Call) -> View:
    rows = [
        {
            "id": row.id,
            "currency": call.account.asset,
            "amount": float(abs(row.amount)),
            "type": "IN" if row.amount > 0 else "OUT",
            "state": "SUCCESS",
            "createTime": row.at_ms,
            "updateTime": row.at_ms,
        }
        for row in reversed(call.exchange.ledger.income)
        if row.account == call.account.api_key and row.kind == "TRANSFER"
    ]
    return paged(call, rows)


def _none(call: Call) -> list[Any]:
    """There are no orders of this kind here."""
    return []


_BASE = "/api/v1/private"

ACCOUNT: dict[Route, Endpoint] = {
    ("GET", f"{_BASE}/account/assets", 0): Endpoint(_assets),
    ("GET", f"{_BASE}/account/asset", 1): Endpoint(_asset),
    ("GET", f"{_BASE}/account/risk_limit", 0): Endpoint(_risk_limits),
    ("GET", f"{_BASE}/account/tiered_fee_rate", 0): Endpoint(_fees),
    ("GET", f"{_BASE}/account/tiered_fee_rate/v2", 0): Endpoint(_fees),
    ("GET", f"{_BASE}/account/transfer_record", 0): Endpoint(_transfers),
    ("GET", f"{_BASE}/position/open_positions", 0): Endpoint(_positions),
    ("GET", f"{_BASE}/position/position_mode", 0): Endpoint(_mode),
    ("GET", f"{_BASE}/position/leverage", 0): Endpoint(_leverage),
    ("GET", f"{_BASE}/position/funding_records", 0): Endpoint(_funding_records),
    ("POST", f"{_BASE}/position/change_position_mode", 0): Endpoint(_set_mode, trades=True),
    ("POST", f"{_BASE}/position/change_leverage", 0): Endpoint(_set_leverage, trades=True),
    ("POST", f"{_BASE}/position/change_margin", 0): Endpoint(_change_margin, trades=True),
    ("GET", f"{_BASE}/planorder/list/orders", 0): Endpoint(_none),
    ("GET", f"{_BASE}/stoporder/list/orders", 0): Endpoint(_none),
    ("GET", f"{_BASE}/stoporder/open_orders", 0): Endpoint(_none),
}
"""Paths about the account, after /api/v1/private."""
