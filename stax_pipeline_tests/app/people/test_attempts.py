"""Failed logins: who waits, for how long, and that success costs nobody his turn."""

from __future__ import annotations

from stax_pipeline.app.people import attempts
from stax_pipeline.app.people.attempts import OF_A_NAME, OF_AN_ADDRESS, WINDOW_SECONDS, Attempts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_name_waits_wherever_it_is_tried_from() -> None:
    clock = Clock()
    tried = Attempts(clock)
    for at in range(OF_A_NAME):
        assert tried.seconds_to_wait("ana", f"10.0.0.{at}") == 0
    assert tried.seconds_to_wait("ana", "10.0.0.99") == WINDOW_SECONDS + 1
    assert tried.seconds_to_wait("tim", "10.0.0.99") == 0
    clock.now += WINDOW_SECONDS
    assert tried.seconds_to_wait("ana", "10.0.0.99") == 0


def test_an_address_waits_whatever_it_tries() -> None:
    tried = Attempts(Clock())
    for at in range(OF_AN_ADDRESS):
        assert tried.seconds_to_wait(f"name{at}", "10.0.0.1") == 0
    assert tried.seconds_to_wait("another", "10.0.0.1") > 0
    assert tried.seconds_to_wait("another", "10.0.0.2") == 0


def test_waiting_makes_the_wait_no_longer() -> None:
    clock = Clock()
    tried = Attempts(clock)
    for _ in range(OF_A_NAME):
        tried.seconds_to_wait("ana", "a")
    for _ in range(20):
        clock.now += 10
        tried.seconds_to_wait("ana", "a")
    assert tried.seconds_to_wait("ana", "a") == WINDOW_SECONDS - 200 + 1


def test_many_people_behind_one_address_log_in_one_after_another() -> None:
    tried = Attempts(Clock())
    for at in range(3 * OF_AN_ADDRESS):
        assert tried.seconds_to_wait(f"name{at}", "proxy") == 0
        tried.forget(f"name{at}", "proxy")


def test_what_is_remembered_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(attempts, "MOST_KEYS", 10)
    tried = Attempts(Clock())
    for at in range(100):
        tried.seconds_to_wait(f"name{at}", f"address{at}")
    assert len(tried._failed) <= 11
