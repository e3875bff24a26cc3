"""The life of an alert, by example and by property: told once, kept, told once more when it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.alerts.causes import Cause, Kind
from stax_pipeline.alerts.life_cycle import QUIET, Alert, Due, advance, closed, due, key_of, next_attempt, notified
from stax_pipeline.alerts.message import SHOWN, SHOWN_OF_TENANT, TENANTS, TITLES, More, digest, in_one_message, trial

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
TICK = timedelta(minutes=10)
ACME, GLOBEX = UUID(int=1), UUID(int=2)
EVERY = frozenset(Kind)


def cause(tenant: UUID = ACME, kind: Kind = Kind.KEY_REJECTED, subject: str = "", **more: datetime) -> Cause:
    slug = {ACME: "acme", GLOBEX: "globex"}.get(tenant, f"tenant-{tenant.int}")
    return Cause(tenant, slug, kind, subject, None, f"what {kind} {subject}", "do it", more.get("expires_at"))


class Operator:
    """Evaluates as `alerts.evaluation` does, with a channel that takes or refuses messages, and keeps what it took."""

    def __init__(self, *channels: str) -> None:
        self.channels = channels or ("webhook",)
        self.kept: list[Alert] = []
        self.heard: dict[str, list[tuple[str, str]]] = {name: [] for name in self.channels}
        self.messages = 0
        self.now = START - TICK

    def tick(
        self, causes: Iterable[Cause] = (), *, judged: Iterable[Kind] = EVERY, deaf: Iterable[str] = (),
        after: timedelta = TICK,
    ) -> None:  # fmt: skip
        self.now += after
        self.kept = advance(self.kept, causes, frozenset(judged), self.now)
        for channel in self.channels:
            found = due(self.kept, channel, self.now)
            assert all(alert.resolved_at is None for alert in found.new)
            if channel in deaf or not (found.new or found.gone):
                continue
            self.messages += 1
            self.heard[channel] += [("new", a.subject) for a in found.new] + [("gone", a.subject) for a in found.gone]
            self._store(notified(found, channel, self.now))
        self._store(closed(self.kept, self.channels, self.now))
        self.kept = [alert for alert in self.kept if alert.closed_at is None]

    def _store(self, changed: Iterable[Alert]) -> None:
        by_key = {(key_of(alert), alert.opened_at): alert for alert in changed}
        self.kept = [by_key.get((key_of(alert), alert.opened_at), alert) for alert in self.kept]


def test_a_cause_that_stays_is_told_once_and_one_that_goes_is_told_once() -> None:
    operator = Operator()
    for _ in range(20):
        operator.tick([cause(subject="x")])
    assert operator.heard["webhook"] == [("new", "x")]
    for _ in range(20):
        operator.tick()
    assert operator.heard["webhook"] == [("new", "x"), ("gone", "x")]
    assert operator.kept == []


def test_the_end_is_told_only_after_a_quiet_hour() -> None:
    operator = Operator()
    operator.tick([cause(subject="x")])
    operator.tick()
    operator.tick(after=QUIET - timedelta(seconds=1))
    assert operator.heard["webhook"] == [("new", "x")]
    operator.tick(after=timedelta(seconds=1))
    assert operator.heard["webhook"] == [("new", "x"), ("gone", "x")]


def test_what_comes_and_goes_within_the_hour_is_one_alert() -> None:
    operator = Operator()
    for n in range(30):
        operator.tick([cause(subject="x")] if n % 3 == 0 else [])
    assert operator.heard["webhook"] == [("new", "x")]
    assert [alert.opened_at for alert in operator.kept] == [START]


def test_a_cause_that_returns_after_its_end_was_told_is_another_alert() -> None:
    operator = Operator()
    operator.tick([cause(subject="x")])
    operator.tick()
    operator.tick(after=QUIET)
    operator.tick([cause(subject="x")])
    assert operator.heard["webhook"] == [("new", "x"), ("gone", "x"), ("new", "x")]


def test_a_kind_that_could_not_be_judged_stays_as_it_is() -> None:
    operator = Operator()
    operator.tick([cause(subject="x"), cause(kind=Kind.PRICE_ACCURACY, subject="y")])
    for _ in range(20):
        operator.tick(judged=EVERY - {Kind.KEY_REJECTED})
    assert operator.heard["webhook"] == [("new", "x"), ("new", "y"), ("gone", "y")]
    assert [alert.subject for alert in operator.kept] == ["x"]


def test_several_new_alerts_of_one_tick_are_one_message() -> None:
    operator = Operator()
    operator.tick([cause(tenant, kind) for tenant in (ACME, GLOBEX) for kind in Kind])
    assert operator.messages == 1
    assert len(operator.heard["webhook"]) == 2 * len(Kind)


def test_a_cause_that_ended_before_it_was_sent_is_sent_as_gone_and_never_as_new() -> None:
    operator = Operator()
    operator.tick([cause(subject="x")], deaf=["webhook"])
    for _ in range(20):
        operator.tick(deaf=["webhook"])
    assert [alert.subject for alert in operator.kept] == ["x"]
    operator.tick()
    operator.tick()
    assert operator.heard["webhook"] == [("gone", "x")]
    assert operator.kept == []


def test_a_cause_that_ended_a_moment_ago_unheard_is_not_sent_until_it_stays_away_or_comes_back() -> None:
    for comes_back, heard in ((True, [("new", "x")]), (False, [("gone", "x")])):
        operator = Operator()
        operator.tick([cause(subject="x")], deaf=["webhook"])
        operator.tick()
        assert operator.heard["webhook"] == []
        operator.tick([cause(subject="x")] if comes_back else [], after=QUIET)
        assert operator.heard["webhook"] == heard


def test_what_happened_while_nobody_could_be_told_is_sent_as_gone() -> None:
    passing = cause(kind=Kind.SPEND_SPIKE, subject="day", expires_at=START + 3 * TICK)
    operator = Operator()
    for _ in range(20):
        operator.tick([passing], deaf=["webhook"])
    operator.tick([passing])
    assert operator.heard["webhook"] == [("gone", "day")]
    assert operator.kept == []


def test_a_channel_that_is_added_later_hears_of_an_ended_cause_as_the_others_do() -> None:
    operator = Operator("webhook")
    operator.tick([cause(subject="x")])
    operator.tick()
    operator.channels = ("webhook", "email")
    operator.heard["email"] = []
    operator.tick(after=QUIET)
    assert operator.heard == {"webhook": [("new", "x"), ("gone", "x")], "email": [("gone", "x")]}
    assert operator.kept == []


def test_a_deaf_channel_does_not_make_the_other_hear_twice() -> None:
    operator = Operator("webhook", "email")
    for _ in range(5):
        operator.tick([cause(subject="x")], deaf=["email"])
    operator.tick([cause(subject="x")])
    assert operator.heard == {"webhook": [("new", "x")], "email": [("new", "x")]}
    for _ in range(9):
        operator.tick(deaf=["email"])
    assert len(operator.kept) == 1
    operator.tick()
    assert operator.heard == dict.fromkeys(("webhook", "email"), [("new", "x"), ("gone", "x")])
    assert operator.kept == []


def test_what_happened_closes_without_a_note_but_what_is_taken_back_has_one() -> None:
    passing = cause(kind=Kind.SPEND_SPIKE, subject="day", expires_at=START + 3 * TICK)
    operator = Operator()
    for _ in range(20):
        operator.tick([passing])
    assert operator.heard["webhook"] == [("new", "day")]
    assert operator.kept == []
    taken_back = Operator()
    taken_back.tick([passing])
    for _ in range(9):
        taken_back.tick()
    assert taken_back.heard["webhook"] == [("new", "day"), ("gone", "day")]


def test_without_a_channel_alerts_are_kept_and_told_once_there_is_one() -> None:
    after = advance([], [cause(subject="x")], EVERY, START)
    assert closed(after, [], START) == []
    assert [alert.subject for alert in due(after, "webhook", START).new] == ["x"]
    gone = advance(after, [], EVERY, START)
    assert [alert.closed_at for alert in closed(gone, [], START + QUIET)] == [START + QUIET]


def test_back_off_doubles_from_five_minutes_to_six_hours() -> None:
    waits = [(next_attempt(n, START) - START) / timedelta(minutes=1) for n in (1, 2, 3, 7, 8, 1000)]
    assert waits == [5, 10, 20, 320, 360, 360]


CAUSES = st.lists(
    st.builds(cause, st.sampled_from([ACME, GLOBEX]), st.sampled_from(list(Kind)), st.sampled_from(["a", "b"])),
    max_size=8,
)


@given(CAUSES, st.randoms(use_true_random=False))
def test_the_order_of_tenants_and_causes_does_not_matter(causes: list[Cause], chance: object) -> None:
    shuffled = list(causes)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    before = advance([], causes[:3], EVERY, START)
    assert set(advance(before, causes, EVERY, START + TICK)) == set(advance(before, shuffled, EVERY, START + TICK))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_openings_and_ends_alternate_and_nothing_is_lost(ticks: list[tuple[bool, bool]]) -> None:
    """Whatever comes, goes and cannot be delivered: no new twice without its end; in the end every alert was told."""
    operator = Operator()
    for there, deaf in ticks:
        operator.tick([cause(subject="x")] if there else [], deaf=["webhook"] if deaf else [])
    for _ in range(10):
        operator.tick()
    heard = [what for what, _ in operator.heard["webhook"]]
    assert ("new", "new") not in list(zip(heard, heard[1:], strict=False))
    assert bool(heard) == any(there for there, _ in ticks)
    assert operator.kept == []


@given(st.lists(st.booleans(), max_size=80))
def test_messages_are_at_most_two_for_each_time_the_cause_was_away_for_an_hour(ticks: list[bool]) -> None:
    operator = Operator()
    for there in [*ticks, *[False] * 10]:
        operator.tick([cause(subject="x")] if there else [])
    away = "".join("x" if there else " " for there in ticks).split(" " * 7)
    episodes = sum("x" in part for part in away)
    assert operator.heard["webhook"] == [("new", "x"), ("gone", "x")] * episodes


class TestMessage:
    def alerts(self, number: int) -> list[Alert]:
        return advance([], [cause(subject=f"{n:03}") for n in range(number)], EVERY, START)

    def test_one_alert_is_named_in_the_title(self) -> None:
        message = digest(Due(self.alerts(1), []))
        assert message.title == "stax: acme: admin key rejected"
        assert "what key_rejected 000\n  What to do: do it" in message.text
        assert message.new == [
            {
                "tenant": "acme", "kind": "key_rejected", "subject": "000", "day": None,
                "what": "what key_rejected 000", "todo": "do it",
                "opened_at": "2026-11-22T12:00:00+00:00", "resolved_at": None,
            }
        ]  # fmt: skip

    def test_a_flood_of_one_tenant_is_counted_and_hides_nobody(self) -> None:
        """5,000 unknown values of acme in one look, and globex's rejected key."""
        flood = [cause(kind=Kind.UNKNOWN_VALUE, subject=f"model m{n:04}") for n in range(5000)]
        found = Due(advance([], [*flood, cause(GLOBEX)], EVERY, START), [])
        message = digest(in_one_message(found))
        assert message.title == "stax: alerts: 5001 new"
        assert message.text.startswith("globex: admin key rejected\n")
        assert [one["tenant"] for one in message.new] == ["globex", *["acme"] * SHOWN_OF_TENANT]
        assert message.more == [More("acme", 5000 - SHOWN_OF_TENANT, 0)]
        assert "\nand 4990 more of acme\n" in message.text
        assert message.text.count(f": {TITLES['unknown_value']}") == SHOWN_OF_TENANT

    def test_ends_have_what_room_is_left_and_are_counted_too(self) -> None:
        gone = [alert._replace(resolved_at=START) for alert in self.alerts(SHOWN_OF_TENANT + 3)]
        message = digest(Due(self.alerts(SHOWN_OF_TENANT + 1), gone))
        assert message.title == "stax: alerts: 11 new, 13 gone"
        assert (len(message.new), len(message.gone)) == (SHOWN_OF_TENANT, SHOWN_OF_TENANT)
        assert "\nand 1 more and 3 more gone of acme\n" in message.text

    def test_every_tenant_has_its_turn_and_the_worst_is_first(self) -> None:
        causes = [cause(UUID(int=n), kind) for n in range(1, SHOWN) for kind in (Kind.SPEND_SPIKE, Kind.QUARANTINED)]
        message = digest(Due(advance([], [*causes, cause(UUID(int=99))], EVERY, START), []))
        assert [one["kind"] for one in message.new] == ["key_rejected", *["quarantined"] * (SHOWN - 1)]
        assert len({one["tenant"] for one in message.new}) == SHOWN

    @given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60), st.sampled_from(list(Kind)), st.booleans())))
    def test_a_message_is_bounded_and_writes_out_or_counts_what_it_is_said_to_tell(
        self, sizes: list[tuple[int, int, Kind, bool]]
    ) -> None:
        causes = [cause(UUID(int=n), kind, str(i)) for n, size, kind, _ in sizes for i in range(size)]
        over = {UUID(int=n) for n, _, _, is_over in sizes if is_over}
        alerts = advance([], causes, EVERY, START)
        waiting = Due(*([a for a in alerts if (a.tenant_id in over) is gone] for gone in (False, True)))
        found = in_one_message(Due(waiting.new, [a._replace(resolved_at=START) for a in waiting.gone]))
        message = digest(found)
        written = [one["tenant"] for one in (*message.new, *message.gone)]
        heard = [*written, *(more.tenant for more in message.more for _ in range(more.new + more.gone))]
        assert sorted(map(str, heard)) == sorted(alert.slug for part in found for alert in part)
        paragraphs = message.text.count("  What to do: ") + message.text.count("  It was: ")
        assert paragraphs <= SHOWN and len(written) <= SHOWN + 2 * TENANTS and len(set(heard)) <= TENANTS
        assert len(set(heard)) == min(TENANTS, len({alert.slug for alert in alerts}))
        assert all(f"of {more.tenant}" in message.text for more in message.more)

    def test_tenants_without_room_wait_for_the_next_message(self) -> None:
        alerts = advance([], [cause(UUID(int=n)) for n in range(1, TENANTS + 8)], EVERY, START)
        first = in_one_message(Due(alerts, []))
        kept = {alert.slug: alert for alert in [*alerts, *notified(first, "webhook", START)]}
        second = in_one_message(due(kept.values(), "webhook", START))
        assert (len(first.new), len(second.new)) == (TENANTS, 7)
        assert {alert.slug for alert in (*first.new, *second.new)} == {alert.slug for alert in alerts}

    def test_an_end_says_from_when_to_when(self) -> None:
        message = digest(Due([], [alert._replace(resolved_at=START + TICK) for alert in self.alerts(1)]))
        assert message.title == "stax: acme: admin key rejected - gone"
        assert "Open from 2026-11-22 12:00 to 2026-11-22 12:10 UTC." in message.text

    def test_an_alert_that_was_over_before_it_was_told_says_so(self) -> None:
        message = digest(Due([], [alert._replace(resolved_at=START + TICK) for alert in self.alerts(1)]))
        assert message.title.endswith("- gone")
        assert "Open from 2026-11-22 12:00 to 2026-11-22 12:10 UTC." in message.text
        assert (message.new, [one["resolved_at"] for one in message.gone]) == ([], ["2026-11-22T12:10:00+00:00"])

    def test_the_test_message_alarms_nobody(self) -> None:
        assert "Nothing happened" in trial().text

    @pytest.mark.parametrize("kind", Kind)
    def test_every_kind_has_a_title(self, kind: Kind) -> None:
        assert digest(Due(advance([], [cause(kind=kind)], EVERY, START), [])).title.startswith("stax: acme: ")


def test_no_name_in_a_message_draws_on_a_screen() -> None:
    """Whatever it was that put it there: the text, what programs get, and the end of it."""
    odd = cause(subject="model \x1b[2J\u202e")._replace(what="Used \x9b1m.\rNothing is wrong.", todo="\x07Nothing.")
    [alert] = advance([], [odd], EVERY, START)
    for found in (Due([alert], []), Due([], [alert._replace(resolved_at=START + TICK)])):
        message = digest(found)
        [item] = [*message.new, *message.gone]
        said = [message.title, *message.text.split("\n"), *(value for value in item.values() if value)]
        assert all(line.isprintable() for line in said)
        assert "\\u009b1m" in message.text


class TestOneOutage:
    """What many tenants met at once is one paragraph, and takes no other tenant's place."""

    def late(self, number: int) -> Cause:
        tenant = UUID(int=number)
        what = "The cost_report of 2026-11-21 is late: not complete yet."
        todo = f"`stax sync tenant-{number}` fetches again."
        return Cause(tenant, f"tenant-{number}", Kind.TENANT_LATE, "", None, what, todo)

    def test_it_is_told_once_for_all(self) -> None:
        causes = [self.late(number) for number in range(10, 10 + SHOWN + 30)]
        other = Cause(UUID(int=5), "apart", Kind.KEY_REJECTED, "", None, "Rejected.", "Ask.")
        message = digest(Due(advance([], [*causes, other], EVERY, START), []))
        assert message.text.count("is late: not complete yet.") == 1
        assert f"{SHOWN + 30} tenants (tenant-10, " in message.text
        assert "What to do: `stax sync SLUG` fetches again." in message.text
        assert "apart: admin key rejected" in message.text
        assert message.more == []
        assert {item["tenant"] for item in message.new} == {"apart", *(cause.slug for cause in causes)}

    def test_its_end_too(self) -> None:
        causes = [self.late(number) for number in (10, 11)]
        gone = [alert._replace(resolved_at=START + TICK) for alert in advance([], causes, EVERY, START)]
        text = digest(Due([], gone)).text
        assert text.count("gone: data is late") == 1
        assert "2 tenants (tenant-10, tenant-11): gone: data is late" in text
