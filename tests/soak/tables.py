"""How much there is in every queue and table of an object and of those it is made of, whatever they are called."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

HOLDS = (dict, list, set, deque, OrderedDict, Counter)
OURS = ("agent.", "adapters.")


def tables(*roots: object) -> dict[str, int]:
    """Lengths by class and attribute; those of several objects of a class are added up."""
    found: Counter[str] = Counter()
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not hasattr(one, "__dict__"):
            continue
        seen[id(one)] = one
        for name, value in vars(one).items():
            if isinstance(value, HOLDS):
                found[f"{type(one).__name__}.{name.strip('_')}"] += len(value)
                parts = value.values() if isinstance(value, dict) else value
                waiting += [part for part in parts if type(part).__module__.startswith(OURS)]
            elif type(value).__module__.startswith(OURS):
                waiting.append(value)
    return dict(sorted(found.items()))
