from __future__ import annotations

import copy
import pickle

import msgspec
import pytest

from agent.core.venue import Ask, Cancel, Credentials, Lane, Place, Request, Secret, SetLeverage, What
from tests.core.kit import order

SECRET = Secret("hunter2")


def test_a_secret_gives_its_text_only_when_asked_to_reveal_it() -> None:
    assert SECRET.reveal() == "hunter2"


@pytest.mark.parametrize(
    "shown", [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET:>20}", "".join(map(str, [SECRET])), repr([SECRET])]
)
def test_however_it_is_printed_a_secret_shows_dots(shown: str) -> None:
    assert "hunter2" not in shown
    assert "…" in shown


def test_credentials_show_neither_key_nor_secret() -> None:
    assert "hunter2" not in repr(Credentials(key=SECRET, secret=SECRET))


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode])
def test_a_secret_is_neither_pickled_nor_copied_nor_encoded(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError):
        leak(SECRET)


def test_a_secret_has_no_other_attributes_to_be_dumped() -> None:
    assert not hasattr(SECRET, "__dict__")


@pytest.mark.parametrize("request_", [Ask(What.ORDER, 0, "o1"), Place(order("o1")), Cancel("o1", 0), SetLeverage(0, 5)])
def test_a_request_comes_back_from_the_journal_as_it_was(request_: Request) -> None:
    assert msgspec.json.decode(msgspec.json.encode(request_), type=Ask | Place | Cancel | SetLeverage) == request_


def test_safety_goes_before_truth_before_everything_else() -> None:
    assert sorted(Lane) == [Lane.RESCUE, Lane.RESOLVE, Lane.CREATE, Lane.REFRESH]
