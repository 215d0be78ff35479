"""The account endpoints of Binance USDⓈ-M: balances, positions, settings, history, listen keys."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from adapters.simulator.arithmetic import plain
from adapters.simulator.binance_call import Call, Endpoint, flat
from adapters.simulator.binance_errors import not_valid
from adapters.simulator.binance_streams import ListenKey
from adapters.simulator.binance_views import AccountViews, View, bracket_view, income_view, trade_view
from adapters.simulator.orders import Reason, Rejected
from adapters.simulator.wire import WireError

_KEY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _views(call: Call) -> AccountViews:
    return AccountViews(call.exchange, call.account)


def _account_2(call: Call) -> View:
    return _views(call).account(every_symbol=True)


def _account_3(call: Call) -> View:
    return _views(call).account(every_symbol=False)


def _balance(call: Call) -> list[View]:
    return _views(call).balances()


def _wanted(call: Call) -> str | None:
    return call.symbol() if "symbol" in call.params else None


def _risk_2(call: Call) -> list[View]:
    return _views(call).risks(_wanted(call), every_symbol=True)


def _risk_3(call: Call) -> list[View]:
    return _views(call).risks(_wanted(call), every_symbol=False)


def _brackets(call: Call) -> list[View]:
    return [bracket_view(call.listing(symbol)) for symbol in call.symbols()]


def _commission(call: Call) -> View:
    fees = call.exchange.fees
    return {
        "symbol": call.symbol(),
        "makerCommissionRate": plain(fees.maker),
        "takerCommissionRate": plain(fees.taker),
        "rpiCommissionRate": plain(fees.maker / 4),
    }


def _symbol_config(call: Call) -> list[View]:
    account = call.account
    return [
        {
            "symbol": symbol,
            "marginType": "ISOLATED" if account.is_isolated(symbol) else "CROSSED",
            "isAutoAddMargin": "false",
            "leverage": account.leverage(symbol),
            "maxNotionalValue": plain(call.listing(symbol).largest_notional(account.leverage(symbol))),
        }
        for symbol in call.symbols()
    ]


def _account_config(call: Call) -> View:
    return {
        "feeTier": 0,
        "canTrade": call.account.barred is None and call.key.may_trade,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": call.account.hedge,
        "updateTime": 0,
        "multiAssetsMargin": bool(call.account.collateral),
        "tradeGroupId": -1,
    }


def _mode(call: Call) -> View:
    return {"dualSidePosition": call.account.hedge}


def _set_mode(call: Call) -> View:
    call.params.text("dualSidePosition")
    call.exchange.set_hedge(call.account, call.params.flag("dualSidePosition"))
    return {"code": 200, "msg": "success"}


def _multi_assets(call: Call) -> View:
    return {"multiAssetsMargin": bool(call.account.collateral)}


def _set_multi_assets(call: Call) -> View:
    call.params.text("multiAssetsMargin")
    if call.params.flag("multiAssetsMargin"):
        raise WireError(-1000, "Multi-assets mode is not simulated.")
    raise WireError(-4171, "No need to change multi-assets mode.")


def _set_margin_type(call: Call) -> View:
    symbol, kind = call.symbol(), call.params.text("marginType")
    if kind not in ("CROSSED", "ISOLATED"):
        raise not_valid("marginType")
    call.exchange.set_isolated(call.account, symbol, kind == "ISOLATED")
    return {"code": 200, "msg": "success"}


def _move_margin(call: Call) -> View:
    symbol, amount, kind = call.symbol(), call.params.number("amount"), call.params.integer("type")
    side = call.params.text("positionSide", "BOTH")
    if kind not in (1, 2):
        raise not_valid("type")
    if side not in (("LONG", "SHORT") if call.account.hedge else ("BOTH",)):
        raise Rejected(Reason.POSITION_SIDE)
    if amount <= 0:
        raise Rejected(Reason.MARGIN_AMOUNT)
    call.exchange.move_margin(call.account, symbol, side, amount if kind == 1 else -amount)
    return {
        "amount": float(amount),
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": kind,
    }


def _set_leverage(call: Call) -> View:
    symbol, leverage = call.symbol(), call.params.integer("leverage")
    call.exchange.set_leverage(call.account, symbol, leverage)
    return {
        "leverage": leverage,
        "maxNotionalValue": plain(call.listing(symbol).largest_notional(leverage)),
        "symbol": symbol,
    }


def _order_limits(call: Call) -> list[View]:
    return [
        {"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limit}
        for interval, number, limit in (
            ("SECOND", 10, call.side.orders_10s),
            ("MINUTE", 1, call.side.orders_1m),
        )
    ]


class _Dated(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def account(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def at_ms(self) -> int: ...


Row = TypeVar("Row", bound=_Dated)


def _history(call: Call, rows: list[Row], limit: int, keep: Callable[[Row], bool]) -> Iterable[Row]:
    """The account's rows in time, oldest first: the first ones after a start, else the newest."""
    start_ms, end_ms = call.params.span()
    first = call.params.integer("fromId", 0)
    forward = first or "startTime" in call.params
    found: list[Row] = []
    for row in iter(rows) if forward else _backwards(rows):
        if row.account == call.account.api_key and row.id >= first and keep(row):
            if start_ms <= row.at_ms <= end_ms:
                found.append(row)
            if len(found) == limit:
                break
    return found if forward else reversed(found)


def _backwards(rows: list[Row]) -> Iterator[Row]:
    return reversed(rows)


def _user_trades(call: Call) -> list[View]:
    symbol = call.symbol()
    order_id = call.params.integer("orderId", 0)
    fills = _history(
        call,
        call.exchange.ledger.fills,
        call.params.limit(500, 1000),
        lambda fill: fill.symbol == symbol and order_id in (0, fill.order_id),
    )
    return [trade_view(fill, call.listing(symbol)) for fill in fills]


def _income(call: Call) -> list[View]:
    symbol, kind = call.params.get("symbol"), call.params.get("incomeType")
    rows = _history(
        call,
        call.exchange.ledger.income,
        call.params.limit(100, 1000),
        lambda row: symbol in (None, row.symbol) and kind in (None, row.kind),
    )
    return [income_view(row, call.account.asset) for row in rows]


def _no_rows(call: Call) -> list[View]:
    return []


def _trading_status(call: Call) -> View:
    return {"indicators": {}, "updateTime": call.now_ms}


def _adl(call: Call) -> list[View]:
    return [{"symbol": position.symbol, "adlQuantile": {position.side: 1}} for position in call.account.held()]


def _own_key(call: Call) -> ListenKey | None:
    keys = call.side.streams.listen_keys.values()
    return next((key for key in keys if key.account == call.account.api_key), None)


def _listen_key(call: Call) -> View:
    """A new listen key, or the active one with its life extended."""
    key = _own_key(call)
    if key is None:
        letters = "".join(call.exchange.random.choice(_KEY_LETTERS) for _ in range(64))
        key = ListenKey(letters, call.account.api_key, 0)
        call.side.streams.listen_keys[letters] = key
    _extend(call, key)
    return {"listenKey": key.key}


def _extend(call: Call, key: ListenKey) -> None:
    streams = call.side.streams
    key.expires_ms = call.now_ms + call.side.listen_key_life_ms

    def look(at_ms: int) -> None:
        if at_ms >= key.expires_ms and key.key in streams.listen_keys:
            streams.expire(key.key, at_ms)

    call.exchange.at(key.expires_ms, look)


def _keep_listen_key(call: Call) -> View:
    key = _own_key(call)
    if key is None:
        raise WireError(-1125, "This listenKey does not exist.")
    _extend(call, key)
    return {"listenKey": key.key}


def _close_listen_key(call: Call) -> View:
    key = _own_key(call)
    if key is None:
        raise WireError(-1125, "This listenKey does not exist.")
    del call.side.streams.listen_keys[key.key]
    return {}


_RIGHTS = {
    "trade": "enableFutures",
    "withdraw": "enableWithdrawals",
    "ip": "ipRestrict",
    "expires_ms": "tradingAuthorityExpirationTime",
}


def _restrictions(call: Call) -> View:
    """What the key may do: trade futures from one address, never withdraw, unless told otherwise."""
    return {
        "ipRestrict": True,
        "createTime": 1_698_645_219_000,
        "enableInternalTransfer": False,
        "enableFutures": True,
        "enablePortfolioMarginTrading": False,
        "enableVanillaOptions": False,
        "permitsUniversalTransfer": False,
        "enableReading": True,
        "enableSpotAndMarginTrading": False,
        "enableWithdrawals": False,
        "enableMargin": False,
        **call.account.rights,
        **{_RIGHTS[name]: value for name, value in call.key.changes.items()},
    }


def _coins(call: Call) -> list[View]:
    """The one coin of the wallet, as the wallet service describes it."""
    coin = call.account.asset
    return [
        {
            "coin": coin,
            "name": coin,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "trading": True,
            "isLegalMoney": False,
            "free": "0",
            "locked": "0",
            "networkList": [],
        }
    ]


def _system_status(call: Call) -> View:
    return {"status": 0, "msg": "normal"}


def _signed(handle: Callable[[Call], Any], weight: int) -> Endpoint:
    return Endpoint(handle, flat(weight), "SIGNED")


def _keyed(handle: Callable[[Call], Any]) -> Endpoint:
    return Endpoint(handle, flat(1), "KEY")


ACCOUNT = {
    ("GET", "/fapi/v2/account"): _signed(_account_2, 5),
    ("GET", "/fapi/v3/account"): _signed(_account_3, 5),
    ("GET", "/fapi/v2/balance"): _signed(_balance, 5),
    ("GET", "/fapi/v3/balance"): _signed(_balance, 5),
    ("GET", "/fapi/v2/positionRisk"): _signed(_risk_2, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(_risk_3, 5),
    ("GET", "/fapi/v1/leverageBracket"): _signed(_brackets, 1),
    ("GET", "/fapi/v1/commissionRate"): _signed(_commission, 20),
    ("GET", "/fapi/v1/symbolConfig"): _signed(_symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): _signed(_account_config, 5),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(_set_mode, 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(_multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(_set_multi_assets, 1),
    ("POST", "/fapi/v1/marginType"): _signed(_set_margin_type, 1),
    ("POST", "/fapi/v1/positionMargin"): _signed(_move_margin, 1),
    ("POST", "/fapi/v1/leverage"): _signed(_set_leverage, 1),
    ("GET", "/fapi/v1/rateLimit/order"): _signed(_order_limits, 1),
    ("GET", "/fapi/v1/userTrades"): _signed(_user_trades, 5),
    ("GET", "/fapi/v1/income"): _signed(_income, 30),
    ("GET", "/fapi/v1/forceOrders"): _signed(_no_rows, 20),
    ("GET", "/fapi/v1/apiTradingStatus"): _signed(_trading_status, 1),
    ("GET", "/fapi/v1/adlQuantile"): _signed(_adl, 5),
    ("POST", "/fapi/v1/listenKey"): _keyed(_listen_key),
    ("PUT", "/fapi/v1/listenKey"): _keyed(_keep_listen_key),
    ("DELETE", "/fapi/v1/listenKey"): _keyed(_close_listen_key),
    ("GET", "/sapi/v1/account/apiRestrictions"): _signed(_restrictions, 1),
    ("GET", "/sapi/v1/capital/config/getall"): _signed(_coins, 10),
    ("GET", "/sapi/v1/system/status"): Endpoint(_system_status, flat(1)),
    ("GET", "/sapi/v1/margin/allPairs"): _keyed(_no_rows),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _keyed(_no_rows),
}
"""Account endpoints; listen keys need the key alone."""
