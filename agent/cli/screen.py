"""What the terminal shows: the live view, tables, decisions in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.core.decisions import Note
from agent.core.economy import Verdict
from agent.core.planner import Plan
from agent.core.risk import Refusal
from agent.core.view import Leg, Outlook, Safety, View
from agent.doctor import Diagnosis

OVER, UNDER = "dark_orange", "dodger_blue1"
"""Colours of too much and too little: not red and green, so that drift is not read as loss."""
KINDS = {
    "trigger": "bold yellow",
    "plan": "cyan",
    "order": "cyan",
    "fill": "green",
    "done": "bold green",
    "external": "bold magenta",
    "refusal": "magenta",
    "warning": "red",
    "halt": "bold red",
    "hold": "dim",
    "state": "dim",
    "targets": "bold cyan",
    "strategies": "cyan",
    "health": "bold yellow",
    "funding": "yellow",
}
MODES = {"observe": "white on blue", "paper": "black on yellow", "live": "white on red"}
BAND = "under ◂ band ▸ over"
BAR = 25
"""Characters of a drift bar; odd, so that the target has a place in the middle."""
OF_GROSS = "share, target, drift and band: parts of the target gross"


def percent(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as per cent; a dash when it is not known."""
    if value is None:
        return "–"
    return f"{value:+.{digits}%}" if signed else f"{value:.{digits}%}"


def money(value: float | None) -> str:
    """An amount with its thousands apart; a dash when it is not known."""
    return "–" if value is None else f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def clock(at: int) -> str:
    """The time of day in UTC."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%H:%M:%S")


def moment(at: int) -> str:
    """The day and the time of day in UTC."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(seconds: float) -> str:
    """How long ago something was, in its largest unit."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def bar(drift: float | None, band: float | None, aware: float | None = None) -> Text:
    """Where a holding stands in its band: the edges are at a quarter and three quarters of the bar.

    Dotted lines are the edges of the cost-aware band, where there is one that fits.
    """
    text = Text("·" * BAR, style="dim")
    if drift is None or not band:
        return text
    middle, half = BAR // 2, BAR / 4
    for reach, mark in (((aware or 0.0) / band, "┊"), (1.0, "│")):
        for edge in (-reach, reach):
            place = round(middle + edge * half)
            if edge and 0 <= place < BAR:
                text = text[:place] + Text(mark, style="bright_black") + text[place + 1 :]
    place = max(0, min(BAR - 1, round(middle + drift / band * half)))
    inside = abs(drift) <= band
    style = "bold green" if inside else f"bold {OVER if drift > 0 else UNDER}"
    return text[:place] + Text("●", style=style) + text[place + 1 :]


def bands(leg: Leg) -> str:
    """The tolerance, and after it the cost-aware band where there is one."""
    aware = "" if leg.aware is None else f" ({100 * leg.aware:.1f})"
    return f"{percent(leg.band)}{aware}"


GRADES = {"ok": "green", "warning": "yellow", "refused": "bold red", "unknown": "magenta"}
VERDICTS = {
    "nothing": "nothing can be done here",
    "paper": "fit for paper, and for nothing beyond",
    "observe": "fit for paper and to observe, not to trade",
    "trade": "fit to trade",
}


def diagnosis(found: Diagnosis) -> Group:
    """Each finding on a line, and the verdict on each account below."""
    several = len(found.accounts) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*(("account",) if several else ()), "about", "", "finding"):
        table.add_column(name, overflow="fold")
    for one in found.findings:
        row = (one.about, Text(one.grade, style=GRADES[one.grade]), Text(one.text))
        table.add_row(*((one.account,) if several else ()), *row)
    style = "bold green" if found.suffices else "bold red"
    verdicts = [Text(f"{one.account or one.venue}: {VERDICTS[one.verdict]}", style=style) for one in found.accounts]
    return Group(table, *verdicts, Text(f'The file says mode = "{found.mode}".', style=style))


def accounts(view: View) -> Table:
    """One row for each of several accounts."""
    table = Table(box=None, pad_edge=False)
    table.add_column("account", no_wrap=True)
    for name in ("equity", "leverage", "margin", "liquidation at"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state")
    for one in view.accounts:
        leverage = "–" if one.leverage is None else f"{one.leverage:.2f}x"
        figures = money(one.equity), leverage, percent(one.maintenance), percent(one.liquidation)
        table.add_row(one.name, *figures, Text(one.state, style="" if one.state == "ready" else "yellow"))
    return table


class Fitting:
    """A table that leaves out columns where the terminal is too narrow for all: those that ``give_way``, in that order.

    Columns start on the left but for those that are ``right``. The ``folded`` one takes what room is left, and needs
    `LEAST`.
    """

    LEAST = 10

    def __init__(
        self,
        rows: Sequence[dict[str, str | Text]],
        *,
        right: Sequence[str] = (),
        give_way: Sequence[str] = (),
        folded: str | None = None,
        caption: str | None = None,
    ) -> None:
        self.rows = rows
        self.right = right
        self.give_way = give_way
        self.folded = folded
        self.caption = caption

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = list(self.rows[0]) if self.rows else []
        for name in self.give_way:
            if self._width(names) <= options.max_width:
                break
            names.remove(name)
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1, 0, 0), caption=self.caption)
        table.caption_justify = "left"
        for name in names:
            table.add_column(
                name,
                justify="right" if name in self.right else "left",
                no_wrap=name != self.folded,
                overflow="fold" if name == self.folded else "ellipsis",
            )
        for row in self.rows:
            table.add_row(*(row[name] for name in names))
        yield table

    def _width(self, names: Sequence[str]) -> int:
        """Characters that these columns need, with two between each and the next and one at either edge."""
        needed = (
            self.LEAST if name == self.folded else max(cell_len(str(cell)) for cell in [name, *self._column(name)])
            for name in names
        )
        return sum(needed) + 2 * len(names)

    def _column(self, name: str) -> list[str | Text]:
        return [row[name] for row in self.rows]


def legs(view: View) -> Fitting:
    """One row for each instrument."""
    unit = sum(abs(leg.target) for leg in view.legs if leg.target is not None) or 1.0
    return Fitting(
        [_leg(leg, unit) for leg in view.legs],
        right=("share", "target", "drift", "notional", "mark", "profit", "funding", "age"),
        give_way=("funding", "profit", "age", "mark", BAND, "notional", "target"),
        caption=OF_GROSS,
    )


def _leg(leg: Leg, unit: float) -> dict[str, str | Text]:
    colour = "" if leg.drift is None or not leg.band or abs(leg.drift) <= leg.band else OVER if leg.drift > 0 else UNDER
    age = "–" if leg.mark_age_s is None else f"{leg.mark_age_s:.1f} s"
    return {
        "instrument": leg.symbol,
        "share": percent(None if leg.weight is None else leg.weight / unit),
        "target": "hold" if leg.hold else percent(None if leg.target is None else leg.target / unit),
        "drift": Text(percent(leg.drift, signed=True), style=colour),
        BAND: bar(leg.drift, leg.band, leg.aware),
        "notional": money(leg.notional),
        "mark": "–" if leg.mark is None else f"{leg.mark:,.6g}",
        "profit": money(leg.profit),
        "funding": percent(leg.funding_rate, 4, signed=True),
        "age": Text(age, style="red" if leg.mark_age_s is not None and leg.mark_age_s > 5 else "dim"),
    }


class Header:
    """Mode (or a ``label`` in its place), state and the numbers of the whole portfolio: on the left and on the right,
    or below each other where the terminal is too narrow for that."""

    def __init__(self, view: View, label: str | None = None) -> None:
        self.view = view
        self.label = label

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self._rows()
        if all(left.cell_len + right.cell_len + 2 <= options.max_width for left, right in rows):
            grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
            grid.add_column()
            grid.add_column(justify="right")
            for row in rows:
                grid.add_row(*row)
            yield grid
        else:
            yield from (text for row in rows for text in row if text)

    def _rows(self) -> list[tuple[Text, Text]]:
        view, label = self.view, self.label
        plate = (f" {label} ", "black on green") if label else (f" {view.mode.upper()} ", MODES[view.mode])
        left = Text.assemble(plate, "  ", (view.state, "bold"))
        leverage = "–" if view.leverage is None else f"{view.leverage:.2f}x"
        held = ", ".join(f"{amount:,.8f} {coin}" for coin, amount in view.coins.items())
        right = (
            f"equity {money(view.equity)}{f' ({held})' if held else ''}   leverage {leverage} "
            f"(target {view.leverage_target:g}x, limit {view.leverage_limit:g}x)"
        )
        feeds = "   ".join(f"{name} up {seconds:.0f} s" for name, seconds in view.streams.items()) or "no stream is up"
        if view.missing:
            feeds = f"no answer yet about {'; '.join(view.missing)}"
        sums = (
            f"fills {view.fills}   turnover {money(view.turnover)}   fees {money(view.fees)}   refused {view.refused}"
        )
        if view.unread:
            sums += f"   unread {view.unread}"
        near = view.liquidation is not None and view.liquidation < view.liquidation_floor
        return [
            (left, Text(right)),
            (Text(feeds, style="dim"), Text(safety(view), style="red" if near else "dim")),
            (Text(), Text(sums, style="dim")),
        ]


def safety(stands: View | Safety) -> str:
    """Maintenance margin, and how far liquidation is: all prices against the account at once, and the worst alone."""
    alone = ""
    if stands.liquidation_symbol is not None:
        alone = f" ({stands.liquidation_symbol} alone {percent(stands.liquidation_alone)})"
    return f"margin {percent(stands.maintenance)}   liquidation at a move of {percent(stands.liquidation)}{alone}"


def orders(view: View) -> RenderableType:
    """The orders that are not finished."""
    if not view.orders:
        return Text("no order is working", style="dim")
    rows: list[dict[str, str | Text]] = [
        {
            "order": Text(order.id, style="dim"),
            "side": order.side,
            "quantity": order.quantity,
            "instrument": order.symbol,
            "limit": order.price or "market",
            "state": order.state,
            "filled": percent(order.filled, 0),
            "age": Text(f"{order.age_s:.1f} s", style="dim"),
        }
        for order in view.orders
    ]
    return Fitting(rows, give_way=("age", "filled", "limit", "quantity"))


def told(notes: Iterable[tuple[int, Note]]) -> Text:
    """Reasons in words, one a line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for at, note in notes:
        text.append(f"{clock(at)} ", style="dim")
        text.append(f"{note.kind:<10} ", style=KINDS.get(note.kind, ""))
        text.append(f"{note.symbol + ' ' if note.symbol else ''}{note.text}\n")
    text.rstrip()
    return text


def live(view: View, notes: Sequence[tuple[int, Note]], title: str, label: str | None = None, end: str = "") -> Panel:
    """The whole live view; ``end`` says how to leave it."""
    parts: list[RenderableType] = [
        Header(view, label),
        legs(view),
        *([accounts(view)] if view.accounts else []),
        *([strategies(view)] if view.strategies else []),
        Panel(orders(view), title="orders", title_align="left", border_style="dim"),
        Panel(told(notes), title="decisions", title_align="left", border_style="dim"),
    ]
    return Panel(Group(*parts), title=title, title_align="left", subtitle=end, subtitle_align="right")


def stance(view: View, symbol: str | None, past: str | None = None) -> RenderableType:
    """Where things stand at this moment and why nothing is done, or what: drifts, triggers, what a correction would be
    and what stands against it. ``past`` says why no agent is at work, so that nothing is ahead."""
    unit = sum(abs(leg.target) for leg in view.legs if leg.target is not None) or 1.0
    head = Text.assemble((f"As of {moment(view.at)}: ", "dim"), (view.state, "bold"))
    stands = [Text(_stands(leg, unit)) for leg in view.legs if symbol in (None, leg.symbol)]
    if past is not None:
        return Group(Text(past, style="bold yellow"), head, *stands)
    lines = [] if view.outlook is None else _ahead(view.outlook, symbol)
    if view.declined:
        lines.append(f"Left as it is: {view.declined}.")
    if view.blackout_until is not None:
        lines.append(f"Blackout: nothing but safety begins before {clock(view.blackout_until)} UTC.")
    ahead = Text(f"It looks again at {clock(view.wakes_at)} UTC, or when something is heard.", style="dim")
    return Group(head, *stands, triggers(view), *map(Text, lines), ahead)


def _stands(leg: Leg, unit: float) -> str:
    if leg.hold:
        return f"{leg.symbol}: on hold, never traded"
    share = percent(None if leg.weight is None else leg.weight / unit)
    aim, target = (percent(None if w is None else w / unit) for w in (leg.aim, leg.target))
    aware = "" if leg.reach_aware is None else f"; its risk is {percent(leg.reach_aware, 0)} of its cost-aware band"
    trimmed = "" if leg.aim == leg.target else f", trimmed from {target} while its funding bleeds"
    eaten = f"; funding takes {percent(leg.consumption)} of its margin" if (leg.consumption or 0.0) >= 0.001 else ""
    drift = f"drift {percent(leg.drift, signed=True)} of ±{percent(leg.band)}"
    return f"{leg.symbol}: share {share}, wanted {aim}{trimmed}; {drift}{aware}{eaten}"


def _ahead(ahead: Outlook, symbol: str | None) -> list[str]:
    """What a correction would be now, in sentences."""
    if not ahead.trades:
        lines = ["A correction now would trade nothing."]
    else:
        lines = [f"A correction now: {', '.join(ahead.trades)}."]
        if ahead.benefit is not None and ahead.cost is not None and ahead.days is not None:
            lines.append(verdict(Verdict(benefit=ahead.benefit, cost=ahead.cost, days=ahead.days)))
    return lines + [f"Against it: {stop}." for stop in ahead.obstacles if symbol is None or stop.startswith(symbol)]


def triggers(view: View) -> Table:
    """How near each trigger is to firing."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trigger", "reach", "next"):
        table.add_column(name, justify="right" if name == "reach" else "left", no_wrap=True)
    for one in view.triggers:
        if one.reach < 1:
            ahead = "fires at 100%"
        elif one.due_at is not None:
            ahead = f"fires at {clock(one.due_at)} UTC if it lasts"
        else:
            ahead = "has fired; armed again when it has come back"
        if one.rests_until is not None:
            ahead += f"; rests until {clock(one.rests_until)}"
        table.add_row(one.name, percent(one.reach, 0), ahead)
    if view.next_schedule_at is not None:
        table.add_row("schedule", "", f"next at {date(view.next_schedule_at)} UTC")
    return table


def strategies(view: View) -> RenderableType:
    """One row for each strategy; nothing where there are none."""
    if not view.strategies:
        return Text()
    rows: list[dict[str, str | Text]] = []
    for one in view.strategies:
        error = "" if one.sharpe_error is None else f" ±{one.sharpe_error:.1f}"
        rows.append(
            {
                "strategy": one.name,
                "state": one.state,
                "capital": percent(one.capital),
                "has": percent(one.share),
                "equity": money(one.equity),
                "earned": money(one.pnl),
                "Sharpe": "–" if one.sharpe is None else f"{one.sharpe:.2f}{error}",
                "drawdown": percent(one.drawdown),
            }
        )
    right = ("capital", "has", "equity", "earned", "Sharpe", "drawdown")
    return Fitting(rows, right=right, give_way=("drawdown", "Sharpe", "has", "earned"))


def date(at: int) -> str:
    """The day and the time of day in UTC."""
    return datetime.fromtimestamp(at / 1e9, UTC).strftime("%a %Y-%m-%d %H:%M")


def verdict(found: Verdict) -> str:
    """What a plan earns and costs, in a sentence."""
    worth = "worth it" if found.pays else "not worth it"
    saves = f"It would save {money(found.benefit)} in {found.days:.2g} days and cost {money(found.cost)}"
    return f"{saves}: {worth}."


def plan(todo: Plan, refusals: dict[int, Refusal], view: View) -> Fitting:
    """What a correction would do now: every instrument, its trade, cost, and where it leads."""
    unit = sum(abs(leg.target) for leg in view.legs if leg.target is not None) or 1.0
    by_index = {leg.instrument: leg for leg in todo.legs}
    skipped = {skip.instrument: skip.reason for skip in todo.skips}
    rows: list[dict[str, str | Text]] = []
    for index, leg in enumerate(view.legs):
        trade = by_index.get(index)
        refusal = refusals.get(index)
        gate = f"{refusal.gate}: {refusal.reason}" if refusal else skipped.get(index, "passes" if trade else "")
        verb = "" if trade is None else ("buy" if trade.lots > 0 else "sell") + (" (reduce)" if trade.reduce else "")
        rows.append(
            {
                "instrument": leg.symbol,
                "share": percent(None if leg.weight is None else leg.weight / unit),
                "target": "hold" if leg.hold else percent(None if leg.target is None else leg.target / unit),
                "drift": percent(leg.drift, signed=True),
                "band": bands(leg),
                "after": percent(todo.goals[index] / unit),
                "trade": verb or "–",
                "value": money(trade.notional) if trade else "",
                "cost": money(trade.cost.total if trade.cost else None) if trade else "",
                "gate": gate,
            }
        )
    return Fitting(
        rows,
        right=("share", "target", "drift", "band", "after", "value", "cost"),
        give_way=("band", "target", "share", "drift"),
        folded="gate",
        caption=OF_GROSS,
    )
