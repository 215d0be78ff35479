"""The portfolio file: from TOML to a checked `Portfolio`, and back.

Whatever is wrong with a file comes out as one `ConfigError` with every problem found, each with its place, what is
wrong and the cure. What could be a secret is never shown.
"""

from agent.config.portfolio import Account, Feed, Portfolio
from agent.config.problems import ConfigError, Problem
from agent.config.reader import document_of, load, parse, targets_of
from agent.config.render import render
from agent.config.starter import starter
from agent.config.times import blackout_of, schedule_of

__all__ = [
    "Account",
    "ConfigError",
    "Feed",
    "Portfolio",
    "Problem",
    "blackout_of",
    "document_of",
    "load",
    "parse",
    "render",
    "schedule_of",
    "starter",
    "targets_of",
]
