"""What happens at an exchange by itself or by people: each event of a fault plan, carried out.

An event in time and what follows from the plan are the gateway's; so are the steps of the clock and maintenance.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec import structs

from adapters.simulator.account import Account
from adapters.simulator.book import BUY, SELL
from adapters.simulator.faults import Faults, Incident
from adapters.simulator.instruments import Instrument, brackets
from adapters.simulator.orders import OrderRequest, Reason, Rejected
from adapters.simulator.wire import Venue

Undo = Callable[[], None]
Act = Callable[[Venue, Account, Incident, int], Undo | None]


def check(venue: Venue, plan: Faults) -> None:
    """Compare a plan with the exchange it is for: its accounts and symbols. A `ValueError` names what is not there."""
    keys, symbols = list(venue.exchange.accounts), list(venue.exchange.books)
    for number, told in enumerate(plan.events):
        if told.account is not None and told.account not in keys:
            raise ValueError(
                f"events[{number}].account = {told.account!r} is not here; choose one of {', '.join(keys)}"
            )
        if told.symbol and told.symbol not in symbols:
            raise ValueError(
                f"events[{number}].symbol = {told.symbol!r} is not listed; choose one of {', '.join(symbols)}"
            )


def perform(venue: Venue, told: Incident, now: int) -> Undo | None:
    """Have something happen; gives what undoes it, if it can be undone. Raises `Rejected` where the exchange refuses.

    `now` is the venue's time in UTC nanoseconds.
    """
    accounts = venue.exchange.accounts
    return ACTS[told.do](venue, accounts[told.account or next(iter(accounts))], told, now)


def _request(venue: Venue, account: Account, told: Incident, prefix: str) -> OrderRequest:
    """The order of an event, named as whoever places it names his."""
    quantity = told.value("quantity")
    return OrderRequest(
        symbol=told.value("symbol"),
        side=BUY if quantity > 0 else SELL,
        kind="MARKET" if told.price is None else "LIMIT",
        quantity=abs(quantity),
        client_id=told.client_id or f"{prefix}{venue.exchange.random.getrandbits(60):015x}",
        price=told.price,
        position_side=("LONG" if quantity > 0 else "SHORT") if account.hedge else "BOTH",
    )


def _trade(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.place(account, _request(venue, account, told, "web_"))


def _order(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.place(account, _request(venue, account, told, "other-"))


def _cancel_all(venue: Venue, account: Account, told: Incident, now: int) -> None:
    symbols = [told.symbol] if told.symbol else list(venue.exchange.books)
    if not sum(venue.exchange.cancel_all(account, symbol) for symbol in symbols):
        raise Rejected(Reason.UNKNOWN_ORDER)


def _transfer(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.deposit(account, told.value("amount"))


def _funding(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.settle_now(told.value("symbol"), told.value("rate"))


def _jump(venue: Venue, account: Account, told: Incident, now: int) -> None:
    symbol = told.value("symbol")
    venue.exchange.set_mark(symbol, venue.exchange.books[symbol].mark * told.value("factor"))


def _adl(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.deleverage(account, told.value("symbol"), told.quantity)


def _liquidate(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.take_over(account, told.value("symbol"))


def _settle(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.settle_delisted(told.value("symbol"))


def _leverage(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.set_leverage(account, told.value("symbol"), told.value("leverage"))


def _margin_mode(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.set_isolated(account, told.value("symbol"), told.mode == "isolated")


def _position_mode(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.set_hedge(account, told.mode == "hedge")


def _haircut(venue: Venue, account: Account, told: Incident, now: int) -> None:
    if told.value("asset") not in account.collateral:
        raise Rejected(Reason.NO_COLLATERAL)
    venue.exchange.cut_collateral(account, told.value("asset"), told.value("rate"))


_BARS: Final = {
    "all": Reason.ACCOUNT_BARRED,
    "reduce only": Reason.ACCOUNT_REDUCE_ONLY,
    "inactive": Reason.ACCOUNT_INACTIVE,
}


def _freeze(venue: Venue, account: Account, told: Incident, now: int) -> Undo:
    account.barred = _BARS[told.value("mode")]
    return lambda: _thaw(venue, account, told, now)


def _thaw(venue: Venue, account: Account, told: Incident, now: int) -> None:
    account.barred = None


def _relisting(change: Callable[[Instrument, Incident], Instrument]) -> Act:
    """An event that replaces a listing, and that is undone by what there was before."""

    def act(venue: Venue, account: Account, told: Incident, now: int) -> Undo:
        before = venue.exchange.instruments[told.value("symbol")]
        after = change(before, told)
        venue.exchange.relist(after)
        changed = {
            name: getattr(before, name)
            for name in Instrument.__struct_fields__
            if getattr(before, name) != getattr(after, name)
        }
        return lambda: venue.exchange.relist(structs.replace(venue.exchange.instruments[before.symbol], **changed))

    return act


def _with_status(status: str) -> Act:
    return _relisting(lambda one, told: structs.replace(one, status=status))


def _filtered(one: Instrument, told: Incident) -> Instrument:
    names = ("tick", "step", "min_notional")
    return structs.replace(one, **{name: getattr(told, name) for name in names if getattr(told, name) is not None})


def _bracketed(one: Instrument, told: Incident) -> Instrument:
    factor: Decimal = told.value("factor")
    rows = [(tier.leverage, int(tier.cap * factor), str(tier.rate)) for tier in one.brackets]
    return structs.replace(one, brackets=brackets(rows))


def _redenominate(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.redenominate(told.value("symbol"), told.value("factor"))


def _index_gap(venue: Venue, account: Account, told: Incident, now: int) -> Undo:
    symbol = told.value("symbol")
    venue.exchange.gap_index(symbol, told.value("rate"))
    return lambda: venue.exchange.gap_index(symbol, Decimal(0))


def _limits(venue: Venue, account: Account, told: Incident, now: int) -> Undo:
    before = venue.set_limits(told.weight, told.orders_10s, told.orders_1m)

    def undo() -> None:
        venue.set_limits(*before)

    return undo


def _use_weight(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.use_weight(told.value("weight"), now)


def _key_rights(venue: Venue, account: Account, told: Incident, now: int) -> None:
    names = ("trade", "withdraw", "ip")
    rights: dict[str, object] = {name: getattr(told, name) for name in names if getattr(told, name) is not None}
    if told.expires_s is not None:
        rights["expires_ms"] = now // 1_000_000 + round(told.expires_s * 1_000)
    venue.change_key(account.api_key, rights)


def _revoke_key(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.revoke_key(account.api_key)


def _other_account(venue: Venue, account: Account, told: Incident, now: int) -> None:
    account.alias = f"{account.alias}x"


def _dead_man(venue: Venue, account: Account, told: Incident, now: int) -> None:
    venue.exchange.fire_countdown(account, told.symbol or "")


ACTS: Final[dict[str, Act]] = {
    "trade": _trade,
    "order": _order,
    "cancel all": _cancel_all,
    "transfer": _transfer,
    "funding": _funding,
    "jump": _jump,
    "adl": _adl,
    "liquidate": _liquidate,
    "settle": _settle,
    "leverage": _leverage,
    "margin mode": _margin_mode,
    "position mode": _position_mode,
    "haircut": _haircut,
    "freeze account": _freeze,
    "thaw account": _thaw,
    "halt": _with_status("PENDING_TRADING"),
    "delist": _with_status("SETTLING"),
    "resume": _with_status("TRADING"),
    "filters": _relisting(_filtered),
    "brackets": _relisting(_bracketed),
    "redenominate": _redenominate,
    "price band": _relisting(lambda one, told: structs.replace(one, band=told.value("rate"))),
    "empty book": _relisting(lambda one, told: structs.replace(one, liquidity=0.0)),
    "wide spread": _relisting(lambda one, told: structs.replace(one, spread_bps=float(told.value("rate")) * 10_000)),
    "index gap": _index_gap,
    "limits": _limits,
    "use weight": _use_weight,
    "key rights": _key_rights,
    "revoke key": _revoke_key,
    "other account": _other_account,
    "dead-man": _dead_man,
}
"""Who carries out which kind of event."""
