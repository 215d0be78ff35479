"""The account endpoints of WEEX V3: balance, positions, settings, fees, fills, income."""

from collections.abc import Callable
from typing import Any

from adapters.simulator.account import Account, Position
from adapters.simulator.arithmetic import plain
from adapters.simulator.orders import Reason, Rejected
from adapters.simulator.weex_call import Call, Endpoint, View, wrong
from adapters.simulator.weex_views import (
    balance_view,
    income_view,
    position_id,
    position_view,
    settings_view,
    trade_view,
)
from adapters.simulator.wire import WireError

_WEEK_MS = 7 * 86_400_000
_FILLS_MAX = 100
_INCOME_SPAN_MS = 100 * 86_400_000
_MARGIN_TYPES = {"CROSSED": False, "ISOLATED": True}
_DONE = {"code": "200", "msg": "success"}


def _done(call: Call) -> View:
    return {**_DONE, "requestTime": call.now_ms}


def _balance(call: Call) -> list[View]:
    return [balance_view(call.exchange, call.account)]


def _account_config(call: Call) -> View:
    return {
        "canTrade": call.account.barred is None,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": call.account.hedge,
        "updateTime": call.now_ms,
    }


def _symbol_config(call: Call) -> list[View]:
    return [settings_view(call.account, symbol) for symbol in call.symbols()]


def _positions(call: Call) -> list[View]:
    wanted = set(call.symbols())
    held = [one for one in call.account.held() if one.symbol in wanted]
    return [position_view(call.exchange, call.account, one) for one in held]


def _position(call: Call) -> list[View]:
    call.symbol()
    return _positions(call)


def _commission(call: Call) -> View:
    fees = call.exchange.fees
    rates = {"makerCommissionRate": plain(fees.maker), "takerCommissionRate": plain(fees.taker)}
    return {"symbol": call.symbol(), **rates}


def _set_leverage(call: Call) -> View:
    """Leverage of the one margin type or the other; naming a margin type does not change it."""
    symbol, account = call.symbol(), call.account
    isolated = account.is_isolated(symbol)
    if "marginType" in call.params:
        call.params.choice("marginType", _MARGIN_TYPES)
    names = ("isolatedLongLeverage", "isolatedShortLeverage") if isolated else ("crossLeverage",)
    wanted = {call.params.number(name) for name in names if name in call.params}
    if wanted:
        leverage = min(wanted)
        if leverage != int(leverage):
            raise wrong(names[0])
        call.exchange.set_leverage(account, symbol, int(leverage))
    view = settings_view(account, symbol)
    del view["separatedType"]
    return view


def _set_margin_type(call: Call) -> View:
    symbol = call.symbol()
    isolated = call.params.choice("marginType", _MARGIN_TYPES)
    separated = (
        call.params.choice("separatedType", {"COMBINED": False, "SEPARATED": True})
        if ("separatedType" in call.params)
        else False
    )
    if separated:
        raise WireError(-1054, "FAILED_PRECONDITION: separated positions are not simulated")
    if call.account.is_isolated(symbol) != isolated:
        call.exchange.set_isolated(call.account, symbol, isolated)
    return _done(call)


def _move_margin(call: Call) -> View:
    """More margin for an isolated position, or less: 1 and 2."""
    wanted, sign = call.params.integer("isolatedPositionId"), call.params.choice("type", {"1": 1, "2": -1})
    amount = call.params.number("amount")
    if amount <= 0:
        raise Rejected(Reason.MARGIN_AMOUNT)
    held = _with_id(call, call.account, wanted)
    call.exchange.move_margin(call.account, held.symbol, held.side, amount * sign)
    return _done(call)


def _with_id(call: Call, account: Account, wanted: int) -> Position:
    found = [one for one in account.held() if position_id(call.exchange, one) == wanted]
    if not found:
        raise Rejected(Reason.MARGIN_NO_POSITION)
    return found[0]


def _user_trades(call: Call) -> list[View]:
    """Fills of no more than a week and no more than a hundred, in no order that anybody promises."""
    symbol = call.symbol() if "symbol" in call.params else None
    start_ms, end_ms = call.params.span()
    if start_ms and min(end_ms, call.now_ms) - start_ms > _WEEK_MS:
        raise WireError(-1170, "Time range cannot exceed 7 days.")
    start_ms = start_ms or call.now_ms - _WEEK_MS
    limit = call.params.page(_FILLS_MAX)[1]
    order = call.params.integer("orderId", 0)
    found = [
        trade_view(fill, call.account)
        for fill in call.exchange.ledger.fills
        if fill.account == call.account.api_key and symbol in (None, fill.symbol) and start_ms <= fill.at_ms <= end_ms
    ]
    found = [view for view in found if order in (0, view["orderId"])][-limit:]
    call.side.dice.shuffle(found)
    return found


def _income(call: Call) -> View:
    symbol, kind = call.params.get("symbol"), call.params.get("incomeType")
    start_ms, end_ms = call.params.span()
    if ("startTime" in call.params) != ("endTime" in call.params):
        raise WireError(-1128, "startTime and endTime must be sent together.")
    if start_ms and end_ms - start_ms > _INCOME_SPAN_MS:
        raise WireError(-1170, "Time range cannot exceed 100 days.")
    limit, before = call.params.page(100)[1], call.params.integer("nextKey", 1 << 62)
    found = [
        view
        for row in reversed(call.exchange.ledger.income)
        if row.account == call.account.api_key and start_ms <= row.at_ms <= end_ms and row.id < before
        if (view := income_view(row, call.account))
        and symbol in (None, view["symbol"])
        and kind in (None, view["incomeType"])
    ]
    more = len(found) > limit
    key = str(int(found[limit - 1]["billId"]) - 7 * 10**17) if more else None
    return {"hasNextPage": more, "nextKey": key, "items": found[:limit]}


def _signed(handle: Callable[[Call], Any], weight: int, *, trades: bool = False) -> Endpoint:
    return Endpoint(handle, weight, trades=trades)


ACCOUNT = {
    ("GET", "/capi/v3/account/balance"): _signed(_balance, 5),
    ("GET", "/capi/v3/account/accountConfig"): _signed(_account_config, 5),
    ("GET", "/capi/v3/account/symbolConfig"): _signed(_symbol_config, 5),
    ("GET", "/capi/v3/account/position/allPosition"): _signed(_positions, 10),
    ("GET", "/capi/v3/account/position/singlePosition"): _signed(_position, 1),
    ("GET", "/capi/v3/account/commissionRate"): _signed(_commission, 5),
    ("POST", "/capi/v3/account/leverage"): _signed(_set_leverage, 10, trades=True),
    ("POST", "/capi/v3/account/marginType"): _signed(_set_margin_type, 20, trades=True),
    ("POST", "/capi/v3/account/positionMargin"): _signed(_move_margin, 15, trades=True),
    ("POST", "/capi/v3/account/income"): _signed(_income, 2),
    ("GET", "/capi/v3/userTrades"): _signed(_user_trades, 5),
}
"""Account endpoints, all signed."""
