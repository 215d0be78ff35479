"""What failures mean at BingX: its error codes, the words that change what a code means, and how long to be silent."""

from __future__ import annotations

import re
from typing import Final

from adapters.answers import Reaction, replies
from adapters.bingx_tables import MINUTE, SECOND
from adapters.reading import MS
from agent.core.events import Fault

SLOW_NS: Final = 5 * SECOND
BAN_NS: Final = 5 * MINUTE
"""Where the venue names no time: it is said to recover within about five minutes."""
BAN_MAX_NS: Final = 24 * 60 * MINUTE

REPLIES: Final = replies(
    (Reaction.UNKNOWN, (80012, 80019, 100500, 101500, 109500, 110500, 504)),
    (Reaction.TWIN, (101481, 109201)),
    (Reaction.GONE, (80018,)),
    (Reaction.ABSENT, (80016, 80017, 109421)),
    (Reaction.SLOW, (100410, 109403, 109429, 429)),
    (Reaction.BANNED, (403, 418)),
    (Reaction.DENIED, (100001, 100004, 100412, 100413, 100419, 401)),
    (Fault.ACCOUNT, (100414,)),
    (Fault.CLOCK, (100421,)),
    (Fault.BUSY, (101214,)),
    (Fault.MARGIN, (100202, 101204, 101212, 101253, 110424)),
    (Fault.MARGIN, (101209, 101429, 110287, 112414, 101414)),
    (Fault.REDUCE, (101205, 101290, 109420, 110203)),
    (Fault.PRICE, (101215,)),
    (Fault.CLOSED, (101415, 101514, 109417, 109418, 109425, 110280)),
    (Fault.RULE, (101202, 101400, 101485, 110422, 110425)),
    (Fault.RULE, (101211, 101460, 101461, 110402, 109400, 80014)),
    (Fault.OTHER, (80013, 101419, 104103, 100400, 80403)),
)
"""What an error code of the venue, or an HTTP status without one, means.

A code that is not here proves nothing: the venue has many that it does not document, and says with some of them that it
was too busy to know what became of an order.
"""

_MOMENT: Final = re.compile(r"(?:unblocked after|retry after time:?) *([0-9]{13})\b")


def verdict_of(status: int, code: int | None, text: str) -> Fault | Reaction:
    """What a failure means. The code in an answer that arrived whole counts, whatever its HTTP status; but no code
    makes an answer of a server that failed a proof."""
    said = text.lower()
    if status == 408 or status >= 500 or (code is None and not 400 <= status < 500):
        return Reaction.UNKNOWN
    if status in (403, 418):
        return Reaction.BANNED
    match code:
        case None:
            return REPLIES.get(status, Reaction.UNKNOWN)
        case 109400 | 80014 if "timestamp" in said or "recvwindow" in said:
            return Fault.CLOCK
        case 100421 if "restricted" in said:
            return Fault.CLOSED
        case 101209 if "same order" in said:
            return Reaction.TWIN
        case 100410 if "busy" in said:
            return Reaction.UNKNOWN
        case _:
            return REPLIES.get(code, Reaction.UNKNOWN)


def silent_until(text: str, now: int, ahead_ns: int, *, banned: bool) -> int:
    """Until when nothing more may be asked, by our clock: as the venue says, or for a while.

    ``ahead_ns`` is how far its clock is ahead of ours.
    """
    if found := _MOMENT.search(text):
        until = int(found[1]) * MS - ahead_ns
        return min(max(until, now), now + BAN_MAX_NS)
    return now + (BAN_NS if banned else SLOW_NS)
