"""The account endpoints of BingX's perpetuals: balances, positions, settings, history."""

from typing import Any

from adapters.simulator.account import Account
from adapters.simulator.bingx_call import SWAP, Call, Endpoint
from adapters.simulator.bingx_errors import HEDGE, ONE_WAY, WireError, bad
from adapters.simulator.bingx_views import View, balance_views, leverage_view, name_of, position_view, tier_views

READ, TRADE, WITHDRAW = 2, 3, 5
"""What a key may do, by the venue's numbers."""


def _balance(call: Call) -> list[View]:
    return balance_views(call.exchange, call.account)


def _positions(call: Call) -> list[View]:
    wanted = call.ones()
    return [position_view(call.exchange, call.account, held) for held in call.account.held() if held.symbol in wanted]


def _commission(call: Call) -> View:
    fees = call.exchange.fees
    return {"commission": {"takerCommissionRate": float(fees.taker), "makerCommissionRate": float(fees.maker)}}


def _tiers(call: Call) -> list[View]:
    return tier_views(call.one())


def _leverage(call: Call) -> View:
    return leverage_view(call.account, call.one())


def _set_leverage(call: Call) -> View:
    one, leverage = call.one(), call.params.integer("leverage")
    check_side(call.account, call.params.text("side"))
    call.exchange.set_leverage(call.account, one.symbol, leverage)
    return {"leverage": leverage, "symbol": name_of(one), **leverage_view(call.account, one)}


def check_side(account: Account, side: str) -> None:
    """The side of a position must be one that the account's mode has."""
    if side not in (("LONG", "SHORT") if account.hedge else ("BOTH",)):
        raise WireError(109400, HEDGE if account.hedge else ONE_WAY)


def _margin_type(call: Call) -> View:
    return {"marginType": "ISOLATED" if call.account.is_isolated(call.one().symbol) else "CROSSED"}


def _set_margin_type(call: Call) -> View:
    one, kind = call.one(), call.params.text("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise bad("marginType")
    if call.account.is_isolated(one.symbol) != (kind == "ISOLATED"):
        call.exchange.set_isolated(call.account, one.symbol, kind == "ISOLATED")
    return {}


def _move_margin(call: Call) -> View:
    one, amount, kind = call.one(), call.params.number("amount"), call.params.integer("type")
    side = call.params.text("positionSide", "BOTH")
    check_side(call.account, side)
    if kind not in (1, 2) or amount <= 0:
        raise bad("type" if amount > 0 else "amount")
    call.exchange.move_margin(call.account, one.symbol, side, amount if kind == 1 else -amount)
    return {"amount": float(amount), "type": kind}


def _mode(call: Call) -> View:
    return {"dualSidePosition": str(call.account.hedge).lower()}


def _set_mode(call: Call) -> View:
    hedge = call.params.text("dualSidePosition") == "true"
    if hedge != call.account.hedge:
        call.exchange.set_hedge(call.account, hedge)
    return {"dualSidePosition": str(hedge).lower()}


def _assets(call: Call) -> View:
    return {"assetMode": "multiAssetsMode" if call.account.collateral else "singleAssetMode"}


def _income(call: Call) -> list[View]:
    wanted, kind = call.ones(), call.params.get("incomeType")
    words = {"COMMISSION": "TRADING_FEE"}
    rows = [
        row
        for row in call.exchange.ledger.income
        if row.account == call.account.api_key and row.symbol in {*wanted, ""}
    ]
    views = [
        {
            "symbol": name_of(wanted[row.symbol]) if row.symbol else "",
            "incomeType": words.get(row.kind, row.kind),
            "income": f"{row.amount:.8f}",
            "asset": call.account.asset,
            "info": "",
            "time": row.at_ms,
            "tranId": str(row.id),
            "tradeId": str(row.trade_id),
        }
        for row in rows[-1_000:]
    ]
    return [view for view in views if kind in (None, view["incomeType"])]


def _coins(call: Call) -> list[View]:
    """The one coin of the wallet, as the wallet service describes it."""
    return [{"coin": call.account.asset, "name": call.account.asset, "networkList": []}]


def _no_orders(call: Call) -> View:
    return {"orders": []}


def _permissions(call: Call) -> View:
    allowed = {READ: True, TRADE: call.key.may_trade, WITHDRAW: call.key.withdraws}
    return {
        "apiKey": call.key.name,
        "permissions": [right for right, given in allowed.items() if given],
        "ipAddresses": ["127.0.0.1"] if call.key.bound else [],
        "note": "local",
    }


def _signed(handle: Any, per_second: int = 5) -> Endpoint:
    return Endpoint(handle, per_second)


ACCOUNT = {
    ("GET", f"{SWAP}/v3/user/balance"): _signed(_balance),
    ("GET", f"{SWAP}/v2/user/positions"): _signed(_positions, 10),
    ("GET", f"{SWAP}/v2/user/commissionRate"): _signed(_commission),
    ("GET", f"{SWAP}/v2/user/income"): _signed(_income),
    ("GET", f"{SWAP}/v1/maintMarginRatio"): _signed(_tiers),
    ("GET", f"{SWAP}/v2/trade/leverage"): _signed(_leverage),
    ("POST", f"{SWAP}/v2/trade/leverage"): _signed(_set_leverage),
    ("GET", f"{SWAP}/v2/trade/marginType"): _signed(_margin_type, 2),
    ("POST", f"{SWAP}/v2/trade/marginType"): _signed(_set_margin_type, 2),
    ("POST", f"{SWAP}/v2/trade/positionMargin"): _signed(_move_margin, 2),
    ("GET", f"{SWAP}/v1/positionSide/dual"): _signed(_mode, 2),
    ("POST", f"{SWAP}/v1/positionSide/dual"): _signed(_set_mode, 4),
    ("GET", f"{SWAP}/v1/trade/assetMode"): _signed(_assets, 2),
    ("GET", f"{SWAP}/v2/trade/forceOrders"): _signed(_no_orders, 10),
    ("GET", "/openApi/wallets/v1/capital/config/getall"): _signed(_coins),
    ("GET", "/openApi/v1/account/apiPermissions"): Endpoint(_permissions, 5, bare=True),
}
"""What is about an account and no order."""
