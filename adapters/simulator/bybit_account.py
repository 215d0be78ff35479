"""The account endpoints of Bybit v5: wallet, positions, settings, trades, payments, and what a key may do."""

from datetime import UTC, datetime
from typing import Any

from adapters.simulator.arithmetic import plain
from adapters.simulator.bybit_call import Call, Endpoint, View, category_of
from adapters.simulator.bybit_errors import parameter
from adapters.simulator.bybit_views import AccountView, execution_row, money, name_of
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import Income, Reason, Rejected
from adapters.simulator.wire import WireError

_LEDGER_KINDS = {
    "REALIZED_PNL": "TRADE",
    "COMMISSION": "TRADE",
    "FUNDING_FEE": "SETTLEMENT",
    "INSURANCE_CLEAR": "LIQUIDATION",
}


def _views(call: Call) -> AccountView:
    return AccountView(call.exchange, call.account, call.side.spell, call.side.sequences)


def _info(call: Call) -> View:
    isolated = any(call.account.is_isolated(symbol) for symbol in call.exchange.books)
    return {
        "marginMode": "ISOLATED_MARGIN" if isolated else "REGULAR_MARGIN",
        "updatedTime": str(call.account.updated_ms),
        "unifiedMarginStatus": 6,
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def _wallet(call: Call) -> View:
    if call.params.text("accountType") != "UNIFIED":
        raise parameter("accountType only support UNIFIED")
    row = _views(call).wallet()
    if "coin" in call.params:
        coins = call.params.text("coin").split(",")
        row["coin"] = [coin for coin in row["coin"] if coin["coin"] in coins]
    return {"list": [row]}


def _fee_rate(call: Call) -> View:
    fees = call.exchange.fees
    rows = [
        {"symbol": call.side.spell(one), "takerFeeRate": plain(fees.taker), "makerFeeRate": plain(fees.maker)}
        for one in call.wanted()
    ]
    return {"list": rows}


def _positions(call: Call) -> View:
    """Of one symbol, flat or not; else those that are not flat, by the coin they settle in."""
    category = call.category()
    if "symbol" in call.params:
        rows = _views(call).positions(call.listing().symbol)
    else:
        coin = call.params.text("settleCoin", "" if category == "inverse" else None)
        spelt = {call.side.spell(one) for one in call.listings() if coin in ("", one.asset)}
        rows = [row for row in _views(call).positions() if row["symbol"] in spelt]
    return {**call.page(rows, 20, 200), "category": category}


def _symbol_info(call: Call) -> View:
    rows = [
        {"symbol": row["symbol"], "leverage": row["leverage"], "side": row["side"], "positionIdx": row["positionIdx"]}
        for one in call.wanted()
        for row in _views(call).positions(one.symbol)
    ]
    return {"category": call.category(), "list": rows}


def _set_leverage(call: Call) -> View:
    one, buy = call.listing(), call.params.number("buyLeverage")
    if buy != call.params.number("sellLeverage") and not call.account.hedge:
        raise parameter("buy leverage not equal sell leverage")
    if buy != int(buy):
        raise WireError(10001, "leverage invalid: fractions are not simulated")
    if int(buy) == call.account.leverage(one.symbol):
        raise WireError(110043, "leverage not modified")
    call.exchange.set_leverage(call.account, one.symbol, int(buy))
    return {}


def _switch_mode(call: Call) -> View:
    if call.category() != "linear":
        raise parameter("Illegal category")
    mode = call.params.integer("mode")
    if mode not in (0, 3):
        raise parameter("mode invalid")
    call.exchange.set_hedge(call.account, mode == 3)
    return {}


def _set_margin_mode(call: Call) -> View:
    """The whole account at once; nothing may be open."""
    mode = call.params.text("setMarginMode")
    if mode not in ("REGULAR_MARGIN", "ISOLATED_MARGIN"):
        raise parameter("setMarginMode invalid")
    if call.account.held() or call.account.open_orders:
        raise WireError(3400045, "Set margin mode failed")
    for symbol in call.exchange.books:
        if call.account.is_isolated(symbol) != (mode == "ISOLATED_MARGIN"):
            call.exchange.set_isolated(call.account, symbol, mode == "ISOLATED_MARGIN")
    return {"reasons": []}


def _dcp(call: Call) -> View:
    return {"dcpInfos": []}


def _no_dcp(call: Call) -> Any:
    """The dead man's switch is for institutions that were given it."""
    raise WireError(10005, "Permission denied, please check your API key permissions.")


def _behaviour(call: Call) -> View:
    """Whether a price out of range is refused instead of moved."""
    return {"lpaSpot": False, "lpaPerp": not call.side.moves_prices, "smsef": False, "fmsef": False}


def _set_behaviour(call: Call) -> View:
    call.category()
    call.side.moves_prices = call.params.flag("modifyEnable")
    return {}


def _smp_group(call: Call) -> View:
    return {"smpGroup": 0}


def _collateral(call: Call) -> View:
    row = {"currency": call.account.asset, "collateralRatio": "1", "marginCollateral": True, "collateralSwitch": True}
    return {"list": [row]}


def _coins(call: Call) -> View:
    coin = call.account.asset
    return {"rows": [{"name": coin, "coin": coin, "remainAmount": "0", "chains": []}]}


def _executions(call: Call) -> View:
    """Trades, and payments of funding among them, newest first."""
    start_ms, end_ms = call.params.span()
    wanted = {one.symbol: one for one in call.wanted()}
    ledger, key, kind = call.exchange.ledger, call.account.api_key, call.params.text("execType", "")
    name, link = call.params.text("orderId", ""), call.params.text("orderLinkId", "")
    rows: list[tuple[int, View]] = []
    for fill in ledger.fills:
        if fill.account != key or fill.symbol not in wanted or not start_ms <= fill.at_ms <= end_ms:
            continue
        order = ledger.orders[fill.order_id]
        own = call.side.names_of(order)
        if (name and name != own[0]) or (link and link != own[1]):
            continue
        mark = call.exchange.books[fill.symbol].mark
        row = execution_row(fill, order, wanted[fill.symbol], call.side.spell, *own, mark)
        if kind in ("", row["execType"]):
            rows.append((fill.at_ms, row))
    if kind in ("", "Funding") and not name and not link:
        rows += [
            (income.at_ms, funding_row(call, income, wanted[income.symbol]))
            for income in ledger.income
            if (income.account, income.kind) == (key, "FUNDING_FEE") and income.symbol in wanted
            if start_ms <= income.at_ms <= end_ms
        ]
    rows.sort(key=lambda row: row[0], reverse=True)
    return {"category": call.category(), **call.page([row for _, row in rows], 50, 100)}


def funding_row(call: Call, income: Income, one: Instrument) -> View:
    """A payment of funding, in the shape of a trade: its fee is what was paid."""
    held = call.account.position(income.symbol)
    mark = call.exchange.books[income.symbol].mark
    return {
        "category": category_of(one),
        "symbol": call.side.spell(one),
        "orderType": "UNKNOWN",
        "orderId": name_of(income.id, 2),
        "orderLinkId": "",
        "execType": "Funding",
        "execId": name_of(income.id, 3),
        "execFee": plain(-income.amount),
        "execPrice": money(mark),
        "execQty": plain(abs(held.quantity)),
        "execValue": money(one.notional(abs(held.quantity), mark)),
        "execTime": str(income.at_ms),
        "feeCurrency": "",
        "feeRate": "0.0001",
        "side": "Buy" if held.quantity > 0 else "Sell",
        "isMaker": False,
        "leavesQty": "0",
        "orderQty": "0",
        "orderPrice": "0",
        "closedSize": "0",
        "markPrice": money(mark),
        "stopOrderType": "UNKNOWN",
        "createType": "",
        "seq": income.id,
    }


def _transactions(call: Call) -> View:
    """Changes of the wallet, newest first; `funding` is what was received."""
    start_ms, end_ms = call.params.span()
    kind = call.params.text("type", "")
    rows = []
    for income in reversed(call.exchange.ledger.income):
        own = _LEDGER_KINDS.get(income.kind) or ("TRANSFER_IN" if income.amount > 0 else "TRANSFER_OUT")
        if income.account != call.account.api_key or kind not in ("", own) or not start_ms <= income.at_ms <= end_ms:
            continue
        one = call.exchange.instruments.get(income.symbol)
        funding = income.kind == "FUNDING_FEE"
        rows.append(
            {
                "id": str(income.id),
                "symbol": call.side.spell(one) if one else "",
                "category": category_of(one) if one else "",
                "side": "None",
                "transactionTime": str(income.at_ms),
                "type": own,
                "qty": "0",
                "size": "0",
                "currency": call.account.asset,
                "tradePrice": "",
                "funding": plain(income.amount) if funding else "",
                "fee": plain(-income.amount) if income.kind == "COMMISSION" else "0",
                "cashFlow": "0" if funding or income.kind == "COMMISSION" else plain(income.amount),
                "change": plain(income.amount),
                "cashBalance": money(call.account.wallet),
                "feeRate": "",
                "bonusChange": "",
                "tradeId": name_of(income.trade_id, 1) if income.trade_id else "",
                "orderId": "",
                "orderLinkId": "",
            }
        )
    return call.page(rows, 20, 50)


def _closed_profit(call: Call) -> View:
    call.wanted()
    return {"category": call.category(), "list": [], "nextPageCursor": ""}


def _key(call: Call) -> View:
    """Whose the key is, and what it may do: trade from one address, move no money, unless told otherwise."""
    key = call.key
    wallet = ["Withdraw"] if key.withdraws else []
    return {
        "id": "2208369",
        "note": "local",
        "apiKey": key.name,
        "readOnly": 0 if key.may_trade else 1,
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"] if key.may_trade else [],
            "Spot": [],
            "Wallet": wallet,
            "Options": [],
            "Derivatives": ["DerivativesTrade"] if key.may_trade else [],
        },
        "ips": ["127.0.0.1"] if key.bound else ["*"],
        "type": 1,
        "deadlineDay": -2 if key.expires_ms is None else 90,
        "expiredAt": _moment(key.expires_ms or 0),
        "createdAt": "2025-10-13T03:20:45Z",
        "unified": 0,
        "uta": 1,
        "userID": call.account.alias,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": call.account.public_key or "",
        "isMaster": True,
        "parentUid": "0",
    }


def _add_margin(call: Call) -> Any:
    one = call.listing()
    side = {0: "BOTH", 1: "LONG", 2: "SHORT"}.get(call.params.integer("positionIdx", 0), "")
    if side not in (("LONG", "SHORT") if call.account.hedge else ("BOTH",)):
        raise Rejected(Reason.POSITION_SIDE)
    call.exchange.move_margin(call.account, one.symbol, side, call.params.number("margin"))
    return {}


ACCOUNT = {
    ("GET", "/v5/account/info"): Endpoint(_info, "account"),
    ("GET", "/v5/account/wallet-balance"): Endpoint(_wallet, "wallet"),
    ("GET", "/v5/account/fee-rate"): Endpoint(_fee_rate, "fees"),
    ("GET", "/v5/account/transaction-log"): Endpoint(_transactions, "ledger"),
    ("GET", "/v5/account/query-dcp-info"): Endpoint(_dcp, "settings"),
    ("GET", "/v5/account/user-setting-config"): Endpoint(_behaviour, "settings"),
    ("GET", "/v5/account/smp-group"): Endpoint(_smp_group, "settings"),
    ("GET", "/v5/account/collateral-info"): Endpoint(_collateral, "account"),
    ("POST", "/v5/account/set-limit-px-action"): Endpoint(_set_behaviour, "settings"),
    ("POST", "/v5/account/set-margin-mode"): Endpoint(_set_margin_mode, "settings"),
    ("GET", "/v5/position/list"): Endpoint(_positions, "positions"),
    ("GET", "/v5/position/symbol-info"): Endpoint(_symbol_info, "positions"),
    ("GET", "/v5/position/closed-pnl"): Endpoint(_closed_profit, "positions"),
    ("POST", "/v5/position/set-leverage"): Endpoint(_set_leverage, "leverage", orders=True),
    ("POST", "/v5/position/switch-mode"): Endpoint(_switch_mode, "leverage", orders=True),
    ("POST", "/v5/position/add-margin"): Endpoint(_add_margin, "leverage", orders=True),
    ("GET", "/v5/execution/list"): Endpoint(_executions, "executions"),
    ("GET", "/v5/user/query-api"): Endpoint(_key, "key"),
    ("GET", "/v5/asset/coin/query-info"): Endpoint(_coins, "settings"),
    ("POST", "/v5/order/disconnected-cancel-all"): Endpoint(_no_dcp, "settings"),
}
"""Account endpoints, all signed."""


def _moment(ms: int) -> str:
    """A time as the venue writes it; the beginning of time where there is none."""
    return datetime.fromtimestamp(ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
