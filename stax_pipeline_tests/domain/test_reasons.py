"""One outage is one line: reasons that differ in nothing but the tenant are told once, others never merged."""

from __future__ import annotations

from stax_pipeline.domain.reasons import SHOWN, for_any, shared_reasons

DOWN = "Anthropic's Admin API at a.example did not answer to GET /v1/organizations/{}: no connection after {} tries"


def test_one_outage_is_one_line_however_it_was_met() -> None:
    told = [
        ("acme", DOWN.format("me", 6), "The next sync tries again; `stax sync acme` does so now."),
        ("globex", DOWN.format("cost_report", 5), "The next sync tries again; `stax sync globex` does so now."),
    ]
    [one] = shared_reasons(told)
    assert one.tenants_named == "2 tenants (acme, globex)"
    assert one.reason == told[0][1]
    assert one.step == "The next sync tries again; `stax sync SLUG` does so now."


def test_two_reasons_stay_two_and_in_their_order() -> None:
    found = shared_reasons(
        [("acme", "shrunk", "look"), ("globex", "unit mismatch", "look"), ("initech", "shrunk", "look")]
    )
    assert [(one.tenants_named, one.reason) for one in found] == [
        ("2 tenants (acme, initech)", "shrunk"), ("globex", "unit mismatch"),
    ]  # fmt: skip


def test_one_tenant_keeps_its_own_words_and_command() -> None:
    [one] = shared_reasons([("acme", "shrunk; `stax sync acme --accept-shrink`", "`stax sync acme`")])
    assert (one.tenants_named, one.reason, one.step) == (
        "acme",
        "shrunk; `stax sync acme --accept-shrink`",
        "`stax sync acme`",
    )


def test_of_many_the_first_are_named() -> None:
    [one] = shared_reasons((f"t{n}", "down", f"`stax sync t{n}`") for n in range(SHOWN + 5))
    assert one.tenants_named.startswith("25 tenants (t0, t1, ") and one.tenants_named.endswith("t19 and 5 more)")


def test_only_whole_words_of_commands_are_the_tenants() -> None:
    assert for_any("s", "`stax sync s` of s") == "`stax sync SLUG` of s"
    assert for_any("sync", "`stax sync sync --days 2`") == "`stax SLUG SLUG --days 2`"
