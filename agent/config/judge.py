"""What must fit together in a portfolio file, where no value is wrong by itself."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.config.checks import is_name, nearest, on_this_machine
from agent.config.lines import Place
from agent.config.portfolio import PASSPHRASED, Account, account_of, plain
from agent.config.problems import Problems
from agent.config.render import leverage_follows, percent
from agent.core.carry import CarryRules
from agent.core.decisions import Timing
from agent.core.health import Health
from agent.core.margin import EXIT
from agent.core.pairs import ROUNDING, Pair
from agent.core.planner import Limits
from agent.core.targets import Targets, compose, fitted, gross, netted
from agent.secrets import FORMS

SUM_ERROR: Final = 1.000001e-6
"""How far from 100% weights may add up to: thirds can't be written exactly."""
NOTHING: Final = 1e-12
"""Opposite weights cancel each other out up to rounding."""
SAME: Final = 0.005
"""What follows from the strategies may differ by this from what is typed as well."""
ONE_LEFT: Final = "keep it in one of them"


def judge(clean: dict[str, Any], problems: Problems) -> None:
    """Whether the usable values of a file go together. Values that are left out count as not written."""
    mode, several = clean.get("mode", "paper"), clean.get("accounts", {})
    if several and "account" in clean:
        problems.add(("account",), "stands beside [accounts]", "give it a name there, and drop it here")
    for name, account in several.items():
        _judge_key(mode, ("accounts", name), account, problems)
        _judge_entry(("accounts", name), account, problems)
    _judge_opened(several, problems)
    if not several:
        _judge_key(mode, ("account",), clean.get("account", {}), problems)
        _judge_entry(("account",), clean.get("account", {}), problems)
    _judge_feed(clean.get("feed", {}), problems)
    if not problems.at("timing"):
        _judge_timing(msgspec.convert(clean.get("timing", {}), Timing), problems)
    limits = None if problems.at("limits") else msgspec.convert(clean.get("limits", {}), Limits)
    settle = clean.get("account", {}).get("settle")
    targets = judge_targets(clean.get("targets", {}), limits, problems, settle)
    if not problems.at("funding"):
        _judge_funding(clean.get("funding", {}), problems)
    if targets is None:
        return
    _judge_places(targets, several, problems)
    setting = clean.get("execution", {}).get("leverage")
    if targets.basis == "margin" and setting is not None:
        cure = 'set it at the venue and drop it here, or write basis = "notional"'
        problems.add(("execution", "leverage"), "can't be set where weights are shares of margin", cure, setting)
    _judge_baskets_used(targets, problems)
    for symbol in clean.get("paper", {}).get("positions", {}):
        _judge_symbol(("paper", "positions", symbol), symbol, targets, problems)
    if not problems.at("funding", "hedges"):
        _judge_hedges(clean.get("funding", {}).get("hedges", ()), targets, problems)
    if not problems.at("pairs"):
        _judge_pairs(clean.get("pairs", ()), targets, problems)


def judge_targets(
    given: dict[str, Any], limits: Limits | None, problems: Problems, settle: str | None = None
) -> Targets | None:
    """Whether weights, baskets, strategies and leverage go together, and obey the limits: the targets if they do.

    The leverage of the whole is put into ``given`` where it follows from the strategies. ``settle`` is the coin that
    the account is held in, None for one that is held in the quote currency.
    """
    if problems.at("targets"):
        return None
    _judge_baskets(given, problems)
    if settle is not None:
        _judge_coin(settle, given, limits, problems)
    none_wanted = settle is not None and list(given.get("weights", {}).values()) == [0]
    if not none_wanted:  # an account that is worth the same at any price of its coin
        _judge_sums(given, problems)
    _judge_strategies(given, problems)
    _judge_basis(given, problems)
    _judge_mode(given, problems)
    if problems.at("targets"):
        return None
    targets = msgspec.convert(given, Targets)
    if targets.basis == "notional" and not none_wanted:
        net = _net(targets)
        if gross(net) < NOTHING:
            cure = "change a capital, a leverage or a weight"
            problems.add(("targets", "strategies"), "cancel each other out: nothing would be held", cure)
            return None
        _judge_typed_weights(targets, net, problems)
        if leverage_follows(targets):
            _judge_typed_leverage(given, gross(net), problems)
            given["leverage"] = gross(net)
        if limits is not None:
            _judge_leverage(targets, gross(net), limits, problems)
            _judge_shares(targets, net, limits.asset_share, problems)
    return None if problems.at("targets") else msgspec.convert(given, Targets)


def weight_tables(targets: Mapping[str, Any]) -> dict[Place, dict[str, Any]]:
    """Every table of weights in targets, those of baskets left out, by its place."""
    found: dict[Place, dict[str, Any]] = {("targets", "weights"): targets.get("weights", {})}
    for name, strategy in targets.get("strategies", {}).items():
        found["targets", "strategies", name, "weights"] = strategy.get("weights", {})
    return found


# Targets


def _judge_baskets(given: dict[str, Any], problems: Problems) -> None:
    """Whether names stand for baskets that there are, and no table of weights holds an instrument twice."""
    baskets = given.get("baskets", {})
    for name, parts in baskets.items():
        _add_up(("targets", "baskets", name), parts, problems)
    held = [name for name, share in given.get("weights", {}).items() if share == "hold"]
    for place, weights in weight_tables(given).items():
        owners: dict[str, str] = {}
        for name, share in weights.items():
            here = (*place, name)
            if is_name(name) and name not in baskets:
                cure = nearest(name, list(baskets)) or (
                    f"write [targets.baskets.{name}], or a symbol as the venue does, such as BTCUSDT"
                )
                problems.add(here, "is neither a symbol nor a basket", cure)
            elif is_name(name) and share == "hold":
                problems.add(
                    here, "is a basket, and only symbols can be on hold", 'write SYMBOL = "hold" for each', share
                )
            for symbol in baskets.get(name, {name: share}):
                if (other := owners.setdefault(symbol, name)) != name:
                    problems.add(here, f"holds {symbol}, as {other} does", ONE_LEFT)
                elif symbol in held and share != "hold":
                    problems.add(here, f"{symbol} is on hold", "give it a weight or leave it alone")


def _judge_baskets_used(targets: Targets, problems: Problems) -> None:
    used = [*targets.weights, *(name for strategy in targets.strategies.values() for name in strategy.weights)]
    for name in targets.baskets:
        if name not in used:
            problems.add(("targets", "baskets", name), "is not used", f"give {name} a weight, or drop it")


def _judge_sums(given: dict[str, Any], problems: Problems) -> None:
    weights, strategies = given.get("weights", {}), given.get("strategies", {})
    shares = {name: share for name, share in weights.items() if share != "hold"}
    if shares:
        _add_up(("targets", "weights"), shares, problems)
    elif not strategies:
        wrong = "leaves nothing to trade" if weights else "is missing"
        cure = 'write [targets.weights] and below it one line for each, such as BTCUSDT = "100%"'
        problems.add(("targets", "weights"), wrong, cure)
    for name, strategy in strategies.items():
        place: Place = ("targets", "strategies", name, "weights")
        if strategy.get("weights"):
            _add_up(place, strategy["weights"], problems)
        elif not shares:
            cure = f"write [targets.strategies.{name}.weights], or [targets.weights] for all strategies"
            problems.add(place, "is missing", cure)


def _add_up(place: Place, shares: Mapping[str, float], problems: Problems) -> None:
    total = math.fsum(abs(share) for share in shares.values())
    if not shares:
        problems.add(place, "is empty", 'write one line for each symbol, such as BTCUSDT = "100%"')
    elif abs(total - 1) > SUM_ERROR:
        sums = " + ".join(f"{s} {percent(abs(w))}{problems.where((*place, s))}" for s, w in shares.items())
        off = f"{percent(abs(total - 1))} too {'much' if total > 1 else 'little'}"
        cure = "make the absolute values add up to 100%; leverage is a key of its own"
        problems.add(place, f"{sums} add up to {percent(total)}, {off}", cure)


def _judge_strategies(given: dict[str, Any], problems: Problems) -> None:
    strategies = given.get("strategies", {})
    for name, strategy in strategies.items():
        place: Place = ("targets", "strategies", name)
        if name == "cash":
            problems.add(place, "is what is left to no strategy", "give the strategy another name")
        if "capital" not in strategy:
            problems.add((*place, "capital"), "is missing", 'write its share of equity, such as "60%"')
        if "health" in strategy:
            _judge_health((*place, "health"), strategy["health"], problems)
    total = math.fsum(strategy.get("capital", 0.0) for strategy in strategies.values())
    if total > 1 + SUM_ERROR:
        sums = " + ".join(f"{name} {percent(strategy['capital'])}" for name, strategy in strategies.items())
        cure = "lower a capital; what is left over stays in cash"
        problems.add(("targets", "strategies"), f"have more capital than there is: {sums} = {percent(total)}", cure)
    freed = given.get("freed", "pro rata")
    if freed not in ("pro rata", "cash", *strategies):
        cure = nearest(freed, ["pro rata", "cash", *strategies]) or 'write "pro rata", "cash" or the name of a strategy'
        problems.add(("targets", "freed"), "is not a strategy", cure, freed)


def _judge_health(place: Place, given: dict[str, Any], problems: Problems) -> None:
    health = msgspec.convert(given, Health)
    if health.good < health.bad:
        wrong = f"is below bad ({health.bad:g})"
        problems.add((*place, "good"), wrong, "a Sharpe ratio that is good is above one that is bad", health.good)
    if health.drawdown_pause < health.drawdown_reduce:
        wrong = f"is less than drawdown_reduce ({percent(health.drawdown_reduce)})"
        cure = "a strategy is reduced before it is paused"
        problems.add((*place, "drawdown_pause"), wrong, cure, health.drawdown_pause)
    if not health.ramp or list(health.ramp) != sorted(set(health.ramp)):
        cure = "write parts of its capital, each more than the one before, such as [0.25, 0.5, 0.75]"
        problems.add((*place, "ramp"), "does not rise step by step" if health.ramp else "is empty", cure)


def _judge_basis(given: dict[str, Any], problems: Problems) -> None:
    margin = given.get("basis") == "margin"
    if margin and "utilisation" not in given:
        cure = 'write the initial margin over equity, such as "30%"'
        problems.add(("targets", "utilisation"), "is missing, but the weights are shares of margin", cure)
    if not margin and "utilisation" in given:
        cure = 'set basis = "margin", or drop it'
        problems.add(("targets", "utilisation"), "means nothing where weights are shares of notional", cure)
    if margin and given.get("strategies"):
        problems.add(("targets", "basis"), "does not go with strategies", 'write "notional"', "margin")
    if margin and "leverage" in given:
        cure = "drop it: it follows from utilisation and the leverage settings"
        problems.add(
            ("targets", "leverage"), "means nothing where weights are shares of margin", cure, given["leverage"]
        )


def _judge_mode(given: dict[str, Any], problems: Problems) -> None:
    mode = given.get("leverage_mode", "constant")
    judged = [name for name, strategy in given.get("strategies", {}).items() if strategy.get("health") is not None]
    if mode != "constant" and judged:
        wrong = f"does not go with {judged[0]}'s health: what a pause takes out would never come back"
        problems.add(("targets", "leverage_mode"), wrong, 'write "constant", or drop the health', mode)


def _judge_typed_weights(targets: Targets, net: Sequence[float], problems: Problems) -> None:
    """Weights of the whole are a summary where each strategy has its own; they must be a true one."""
    shares, total = targets.spread(targets.weights, targets.symbols), gross(net)
    own = [bool(strategy.weights) for strategy in targets.strategies.values()]
    if not own or not all(own) or not any(shares):
        return
    lead = [weight / total for weight in net]
    if any(abs(share - weight) > SAME for share, weight in zip(shares, lead, strict=True)):
        wrong = f"does not go with the strategies, which lead to {_said(targets, lead)}"
        problems.add(("targets", "weights"), wrong, f"drop [targets.weights]{_fit(targets, shares)}")


def _judge_typed_leverage(given: dict[str, Any], total: float, problems: Problems) -> None:
    """Likewise the leverage of the whole."""
    if "leverage" in given and abs(total / given["leverage"] - 1) > SAME:
        wrong = f"does not go with the strategies, which lead to {total:.4g}"
        problems.add(("targets", "leverage"), wrong, "drop it, or the leverage of a strategy", given["leverage"])


def _judge_leverage(targets: Targets, total: float, limits: Limits, problems: Problems) -> None:
    if targets.leverage_mode == "off":
        return
    place: Place = ("targets", "strategies") if targets.strategies else ("targets", "leverage")
    which = f"lead to a leverage of {total:.4g}, which " if targets.strategies else ""
    leverage = total if targets.strategies else targets.leverage
    value = None if targets.strategies else leverage
    floor = EXIT * limits.liquidation_distance
    if leverage > limits.leverage * (1 + 1e-9):
        wrong = f"{which}is more than limits.leverage allows ({limits.leverage:g})"
        problems.add(place, wrong, f"lower it, or raise limits.leverage to {leverage:.4g} or more", value)
    elif leverage * floor >= 1:
        wrong = (
            f"{which}is liquidated by a move of {1 / leverage:.1%}, and increases keep {EXIT:g} times "
            f"limits.liquidation_distance ({percent(limits.liquidation_distance)}) away"
        )
        cure = f"lower it below {1 / floor:.4g}, or limits.liquidation_distance below {1 / leverage / EXIT:.1%}"
        problems.add(place, wrong, cure, value)


def _judge_shares(targets: Targets, net: Sequence[float], most: float, problems: Problems) -> None:
    for symbol, weight in zip(targets.symbols, net, strict=True):
        share = weight / gross(net)
        if abs(share) <= most + SUM_ERROR:
            continue
        place: Place = ("targets", "strategies") if targets.strategies else ("targets", "weights", symbol)
        wrong = f"{symbol} is {percent(round(share, 6))} of the gross, and limits.asset_share is {percent(most)}"
        problems.add(place, wrong, "lower the weight or raise the limit")


def _net(targets: Targets) -> list[float]:
    """The weight wanted of each instrument; where weights are shares of margin, those."""
    if targets.basis == "margin":
        return targets.compositions(targets.symbols)[0]
    return netted(compose(targets.capital, targets.leverages(), targets.compositions(targets.symbols)))


def _fit(targets: Targets, shares: Sequence[float]) -> str:
    """Weights of the strategies that would lead to the shares of the whole and stay nearest to those typed."""
    compositions = targets.compositions(targets.symbols)
    budgets = [capital * leverage for capital, leverage in zip(targets.capital, targets.leverages(), strict=True)]
    if min([*shares, *(part for row in compositions for part in row)]) <= 0:
        return ""  # then there may be none
    rows = compose([1.0] * len(budgets), budgets, compositions)
    fit = fitted(rows, budgets, [share * sum(budgets) for share in shares])
    said = [
        f"{name} {_said(targets, [weight / budget for weight in row])}"
        for name, row, budget in zip(targets.strategies, fit, budgets, strict=True)
    ]
    return f", or give {'; '.join(said)}"


def _said(targets: Targets, shares: Sequence[float]) -> str:
    return ", ".join(f"{s} {percent(round(share, 4))}" for s, share in zip(targets.symbols, shares, strict=True))


# What names symbols besides


def _judge_symbol(place: Place, symbol: str, targets: Targets, problems: Problems) -> bool:
    known = symbol in targets.symbols
    if not known:
        cure = nearest(symbol, targets.symbols) or "give it a weight, or drop it here"
        problems.add(place, f"{symbol} is not in [targets]", cure)
    return known


def _judge_traded(place: Place, symbol: str, targets: Targets, problems: Problems) -> bool:
    held = symbol in targets.held
    if held:
        problems.add(place, f"{symbol} is on hold", "give it a weight, or drop it here")
    return _judge_symbol(place, symbol, targets, problems) and not held


def _judge_funding(funding: dict[str, Any], problems: Problems) -> None:
    rules = msgspec.convert({**funding, "hedges": ()}, CarryRules)
    if rules.exit > rules.enter:
        name = "exit" if "exit" in funding else "enter"
        wrong = f"exit ({percent(rules.exit)}) is above enter ({percent(rules.enter)})"
        problems.add(("funding", name), wrong, "bleeding ends at a lower level than it begins", funding[name])


def _judge_hedges(hedges: Sequence[Sequence[str]], targets: Targets, problems: Problems) -> None:
    signs = {symbol: math.copysign(1, w) for symbol, w in zip(targets.symbols, _net(targets), strict=True) if w}
    seen: dict[str, int] = {}
    for number, legs in enumerate(hedges):
        place: Place = ("funding", "hedges", number)
        for leg in legs:
            if seen.setdefault(leg, number) != number:
                problems.add(place, f"names {leg}, which is in another group too", ONE_LEFT)
        fine = [_judge_traded(place, leg, targets, problems) for leg in legs]
        if all(fine) and len({signs.get(leg) for leg in legs} - {None}) < 2:
            problems.add(place, "is no hedge: its targets are not long and short", "name both sides, or drop it")


def _judge_pairs(pairs: Sequence[dict[str, Any]], targets: Targets, problems: Problems) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, given in enumerate(pairs):
        place: Place = ("pairs", number)
        missing = [name for name in ("over", "into", "target") if name not in given]
        for name in missing:
            problems.add((*place, name), "is missing", "a pair has over, into and target")
        if missing:
            continue
        pair = msgspec.convert(given, Pair)
        for name in ("over", "into"):
            _judge_traded((*place, name), given[name], targets, problems)
        if pair.over == pair.into:
            problems.add((*place, "into"), "is the same instrument as over", "name two")
        elif account_of(pair.over) != account_of(pair.into):
            wrong = f"is on another account than {pair.over}, and no margin moves from one account into another"
            cure = (
                f"name one on {account_of(pair.over)}, or leave it to the weights, which are of all accounts together"
            )
            problems.add((*place, "into"), wrong, cure, pair.into)
        if seen.setdefault((pair.over, pair.into), number) != number:
            problems.add(place, f"is about {pair.over} and {pair.into}, as one above", "keep one of them")
        if pair.reach(1.0, 0.0) < 1 - ROUNDING:
            wrong = "and tolerance together are more than all of the margin: it would never act"
            problems.add((*place, "target"), wrong, "lower one of them", pair.target)


# Account and feed


def _judge_coin(settle: str, given: dict[str, Any], limits: Limits | None, problems: Problems) -> None:
    """What an account held in a coin can keep: one contract of that coin at a weight that counts the coin itself."""
    for name, why in (("strategies", "is traded"), ("baskets", "is named")):
        if given.get(name):
            wrong = f"does not go with account.settle: in an account held in {settle} one contract {why}"
            problems.add(("targets", name), wrong, "write the weight of that contract into [targets.weights]")
    if given.get("basis") == "margin":
        wrong = f"does not go with account.settle: the weight in an account held in {settle} counts the coin itself"
        problems.add(("targets", "basis"), wrong, 'write basis = "notional"', "margin")
    weights = given.get("weights", {})
    if len(weights) > 1:
        wrong = f"names {' and '.join(weights)}, and an account held in {settle} trades one contract"
        problems.add(("targets", "weights"), wrong, f"keep that of {settle}; what else is held has a file of its own")
    for symbol in weights:
        if not symbol.startswith(settle):
            cure = f"name a contract of {settle}, or correct account.settle"
            problems.add(("targets", "weights", symbol), f"is not settled in {settle}", cure)
    if limits is not None and limits.leverage < 1:
        wrong = f"is less than the leverage of an account held in {settle} without any contract, which is 1"
        problems.add(("limits", "leverage"), wrong, "write 1 or more", limits.leverage)


def _judge_timing(timing: Timing, problems: Problems) -> None:
    """Whether answers come often enough for nothing to be stale while all is well."""
    if timing.quiet_s <= timing.positions_s:
        cure = f"give it more than the {timing.positions_s:g} of positions_s"
        problems.add(("timing", "quiet_s"), "is over before positions are asked for again", cure, timing.quiet_s)


def _judge_places(targets: Targets, accounts: dict[str, dict[str, Any]], problems: Problems) -> None:
    """Whether each instrument is on one of several accounts, and none of these is without."""
    used = {account_of(symbol): None for symbol in targets.symbols}
    for symbol in targets.symbols:
        name = account_of(symbol)
        if name and not accounts:
            problems.add(("targets", "weights", symbol), "names an account", "there are no [accounts]: drop its name")
        elif accounts and name not in accounts:
            wrong = "names no account" if not name else f"is on an account {name}, which is not among [accounts]"
            meant = next(iter(difflib.get_close_matches(name, list(accounts), n=1)), next(iter(accounts)))
            cure = f"write {meant}:{plain(symbol)}, or another of {', '.join(accounts)}"
            problems.add(("targets", "weights", symbol), wrong, cure)
    for name, account in accounts.items():
        if name not in used:
            problems.add(("accounts", name), "has no instrument", f"put {name}: before a symbol, or drop the account")
        elif (coin := account.get("settle")) is not None:
            _judge_coin_account(name, coin, targets, problems)


def _judge_opened(accounts: dict[str, dict[str, Any]], problems: Problems) -> None:
    """Whether no margin is opened twice: it would be counted twice. A key at another address is another account's."""
    opened: dict[tuple[str | None, ...], Account] = {}
    names: dict[tuple[str | None, ...], str] = {}
    for name, given in accounts.items():
        if "key" not in given or problems.at("accounts", name, "venue"):
            continue
        account = msgspec.convert(given, Account)
        which = account.pool, account.key, account.rest_url
        other = opened.setdefault(which, account)
        if names.setdefault(which, name) == name:
            continue
        wrong = f"opens the account {names[which]} already"
        if (account.venue, account.settle) != (other.venue, other.settle):
            wrong += ", whose margin is one whatever is traded there"
        problems.add(("accounts", name, "key"), wrong, ONE_LEFT, account.key)


def _judge_coin_account(name: str, coin: str, targets: Targets, problems: Problems) -> None:
    """Whether one of several accounts, held in a coin, trades the one contract of that coin."""
    symbols = [symbol for symbol in targets.symbols if account_of(symbol) == name]
    if len(symbols) > 1 or not plain(symbols[0]).startswith(coin):
        wrong = f"is held in {coin}, and such an account trades one contract, of that coin"
        problems.add(("accounts", name), wrong, f"keep one of {', '.join(symbols)}, and give others an account")
    if targets.strategies:
        wrong = f"do not go with accounts.{name}: an account held in a coin belongs to no strategy"
        problems.add(("targets", "strategies"), wrong, "name the weights of the whole, or drop that account")
    if targets.basis == "margin":
        wrong = f"does not go with accounts.{name}: the weight in an account held in {coin} counts the coin itself"
        problems.add(("targets", "basis"), wrong, 'write basis = "notional", or drop that account', targets.basis)


def _judge_key(mode: str, place: Place, account: dict[str, Any], problems: Problems) -> None:
    names = ["key", "secret"]
    if account.get("venue") in PASSPHRASED:
        names.append("passphrase")
    elif "passphrase" in account and not problems.at(*place, "venue"):
        problems.add((*place, "passphrase"), "is not for this venue, whose keys have none", "leave it out")
    given = [name for name in names if name in account or problems.at(*place, name)]
    if mode == "paper" and not given:
        return
    for name in names:
        if name not in given:
            why = f"{given[0]} is given" if mode == "paper" else f'mode is "{mode}"'
            problems.add((*place, name), f"is missing, but {why}", f"write where it is kept: {FORMS}")


def _judge_entry(place: Place, account: dict[str, Any], problems: Problems) -> None:
    if problems.at(*place, "order_entry") or problems.at(*place, "entry_url"):
        return
    by_websocket = account.get("order_entry") == "websocket"
    if "entry_url" in account and not by_websocket:
        cure = 'write order_entry = "websocket", or leave it out'
        problems.add((*place, "entry_url"), "is given, but orders are not sent by websocket", cure)
    if by_websocket and "rest_url" in account and "entry_url" not in account:
        wrong = "is missing, but requests go to another address than the venue's own"
        problems.add((*place, "entry_url"), wrong, "write where the websocket for orders is")


def _judge_feed(feed: dict[str, Any], problems: Problems) -> None:
    host = feed.get("listen", "127.0.0.1:0").rpartition(":")[0].strip("[]")
    if not on_this_machine(host) and "token" not in feed and not problems.at("feed", "token"):
        wrong = "is missing, but others can reach the address to listen at"
        problems.add(("feed", "token"), wrong, f"write where it is kept ({FORMS}), or listen at 127.0.0.1")
    if "token" in feed and "listen" not in feed and not problems.at("feed", "listen"):
        problems.add(("feed", "token"), "is not asked for: listen is missing", 'write listen = "127.0.0.1:8787"')
