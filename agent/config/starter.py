"""A file to begin with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from agent.config.render import key_of, percent, toml
from agent.core.planner import Limits
from agent.core.targets import Hold


def starter(
    weights: Mapping[str, float | Hold] | None = None,
    leverage: float = 3.0,
    equity: float = 10_000.0,
    venue: str = "binance",
) -> str:
    """A commented file to begin with, on paper: by default 50/30/20 in BTC, ETH and SOL at three times leverage."""
    weights = weights or {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}
    rows = "\n".join(f"{key_of(symbol)} = {toml(percent(share))}" for symbol, share in weights.items())
    return STARTER.format(
        weights=rows,
        leverage=toml(leverage),
        most=toml(min(125.0, max(5.0, float(math.ceil(leverage * 1.5))))),
        distance=f"{toml(percent(min(Limits().liquidation_distance, round(0.6 / leverage, 4)))):<5}",
        equity=toml(equity),
        venue=toml(venue),
    )


STARTER: Final = """\
# What to hold, when to act, and what must never happen. `trimtab check FILE` says what is wrong with this file and
# prints it with every default filled in; `trimtab plan FILE` says what it would do now.

# paper: trade on paper at real prices. observe: watch your account and send nothing. live: trade (also needs --live).
mode = "paper"

[account]
venue = {venue}
# Observe and live need a key. Name the place where it is kept, never the key itself:
# key = "file:~/.config/trimtab/key"        # mode 0600; or env:NAME, credential:NAME, keyring:SERVICE/USER
# secret = "file:~/.config/trimtab/secret"
# passphrase = "file:~/.config/trimtab/passphrase"   # of keys that have one: weex

[targets]
leverage = {leverage:<17} # gross notional over equity
leverage_mode = "constant"   # constant: keep it; cap: only ever come down to it; off: leave it alone

# Shares of the gross: long positive, short negative. Their absolute values add up to 100%.
# "hold" leaves an instrument alone: it counts as exposure and is never traded.
[targets.weights]
{weights}

[bands]
tolerance = "7%"             # act when a position is this far from its target, as a share of the gross
destination = "optimal"      # trade as little as pays; "edge": back to just inside the band; "target": all the way

[triggers]
confirm_s = 5                # act only when it lasts so long
cool_down_s = 60             # then wait so long
# schedule = ["every Sunday at midnight"]   # also at these times (UTC, or name a zone), whatever the drift

[limits]
leverage = {most:<17} # never more gross notional over equity than this
maintenance = "50%"          # never more maintenance margin over equity than this
liquidation_distance = {distance} # liquidation no nearer than such a move of all prices

[economy]
payback_days = 7.0           # a correction must earn its cost within this time, in risk that it saves

[execution]
style = "taker"              # taker: at once, at a bounded price; maker: rest at the best price first
slippage = "0.5%"            # never worse than the best price by more than this

[paper]
equity = {equity:<19} # what paper trading starts with
"""
