"""Channels against a local HTTP sink and a local SMTP sink: what arrives, what failure says, and what never shows."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from threading import Event

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_httpserver import HTTPServer
from werkzeug import Response

from stax_pipeline.alerts import channels as delivery
from stax_pipeline.alerts.channels import DeliveryFailed, Mail, Webhook, channels, json_content, slack_content
from stax_pipeline.alerts.message import Message, More
from stax_pipeline.installation.certificates import client_context
from stax_pipeline.installation.settings import MailServer, read_settings
from stax_pipeline_tests.alerts.smtp_sink import SmtpSink

CANARY = "s3cr3t-canary"
MESSAGE = Message(
    "stax: acme: <!channel> & more", "Düsseldorf spent 5 > 3", [{"tenant": "acme"}], [], [More("acme", 2, 0)]
)


def settings_for(sink: SmtpSink, user: str = "", scheme: str = "smtp") -> dict[str, str]:
    return {
        "STAX_ALERT_EMAIL_TO": "ops@example.org, boss@example.org",
        "STAX_ALERT_EMAIL_FROM": "stax@example.org",
        "STAX_SMTP_URL": f"{scheme}://{user}127.0.0.1:{sink.port}",
    }


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(password=CANARY) as running:
        yield running


class TestWebhook:
    def hook(self, server: HTTPServer, **more: bool) -> Webhook:
        return Webhook(server.url_for(f"/services/{CANARY}"), **more)  # type: ignore[arg-type]

    def test_json_arrives(self, httpserver: HTTPServer) -> None:
        httpserver.expect_request(f"/services/{CANARY}", method="POST").respond_with_data("ok")
        assert self.hook(httpserver).send(MESSAGE) == "The webhook on localhost took the message."
        request, _ = httpserver.log[0]
        assert request.content_type == "application/json"
        assert request.json == {
            "title": MESSAGE.title, "text": MESSAGE.text, "new": [{"tenant": "acme"}], "gone": [],
            "more": [{"tenant": "acme", "new": 2, "gone": 0}],
        }  # fmt: skip

    def test_slack_gets_text_alone_and_no_name_calls_a_channel(self, httpserver: HTTPServer) -> None:
        httpserver.expect_request(f"/services/{CANARY}").respond_with_data("ok")
        self.hook(httpserver, slack=True).send(MESSAGE)
        assert httpserver.log[0][0].json == {
            "text": "*stax: acme: &lt;!channel&gt; &amp; more*\nDüsseldorf spent 5 &gt; 3",
            "unfurl_links": False,
            "unfurl_media": False,
        }

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("http://evil.example/a?b", "http[:]//evil[.]example/a?b"),
            ("HTTPS://1.2.3.4:80", "HTTPS[:]//1.2.3.4:80"),
            ("slack://open", "slack[:]//open"),
            ("mailto:a@evil.example", "mailto[:]a[at]evil[.]example"),
            ("www.evil.co.uk", "www[.]evil[.]co[.]uk"),
            ("еvil.рф and evil。com", "еvil[.]рф and evil[.]com"),
            ("[Invoice](https://evil.example)", "[Invoice](https[:]//evil[.]example)"),
            ("@channel @here", "[at]channel [at]here"),
            ("<https://evil.example|Invoice>", "&lt;https[:]//evil[.]example|Invoice&gt;"),
        ],
    )
    def test_no_address_in_a_name_becomes_a_link(self, name: str, shown: str) -> None:
        content = slack_content(MESSAGE._replace(title="stax", text=f"There is no price for model {name}."))
        assert content["text"] == f"*stax*\nThere is no price for model {shown}."

    def test_what_no_chat_links_stays_as_it_is(self) -> None:
        text = "Spend on 2026-11-22 is $1,234.50, 2.5 times the usual. `stax sync acme` fetches again at 12:30 UTC."
        assert slack_content(MESSAGE._replace(title="stax", text=text))["text"] == f"*stax*\n{text}"

    def test_the_words_of_plain_json_hold_no_address_and_its_fields_hold_names_as_they_are(self) -> None:
        """A chat shows `text` or `title`; a program that compares names gets them whole."""
        item: dict[str, str | None] = {"tenant": "acme", "subject": "www.evil.example"}
        message = MESSAGE._replace(title="stax: @here", text="model https://evil.example", new=[item])
        content = json_content(message)
        assert (content["title"], content["text"]) == ("stax: [at]here", "model https[:]//evil[.]example")
        assert content["new"] == [item]

    @pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 429, 500, 503])
    def test_any_other_answer_is_a_failure_told_by_its_number(self, httpserver: HTTPServer, status: int) -> None:
        elsewhere = {"Location": httpserver.url_for("/elsewhere")}
        httpserver.expect_request(f"/services/{CANARY}").respond_with_response(Response(CANARY, status, elsewhere))
        with pytest.raises(DeliveryFailed) as failed:
            self.hook(httpserver).send(MESSAGE)
        assert str(failed.value) == f"The webhook on localhost did not take the message: it answered {status}."
        assert len(httpserver.log) == 1

    def test_nobody_there(self) -> None:
        with pytest.raises(DeliveryFailed, match=r"no connection, or a broken one \(ConnectError\)") as failed:
            Webhook(f"http://127.0.0.1:1/{CANARY}").send(MESSAGE)
        assert CANARY not in str(failed.value)

    def test_an_answer_that_does_not_come_is_given_up_on(
        self, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery, "WAIT_SECONDS", 0.05)
        httpserver.expect_request("/x").respond_with_handler(lambda _: _never())
        with pytest.raises(DeliveryFailed, match="no answer in time"):
            Webhook(httpserver.url_for("/x")).send(MESSAGE)

    def test_the_address_is_in_no_record_and_no_repr(
        self, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        httpserver.expect_request(f"/services/{CANARY}").respond_with_data("ok")
        hook = self.hook(httpserver)
        hook.send(MESSAGE)
        own = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
        assert CANARY not in "\n".join(own)
        assert CANARY not in repr(hook)


def _never() -> Response:
    Event().wait(0.3)
    return Response("late")


class TestMail:
    def mail(self, sink: SmtpSink, user: str = "") -> Mail:
        [channel] = channels(read_settings(settings_for(sink, user)))
        assert isinstance(channel, Mail)
        return channel

    def test_a_message_arrives_with_its_words_whole(self, sink: SmtpSink) -> None:
        said = self.mail(sink, f"ops:{CANARY}@").send(MESSAGE)
        assert said == "The mail server 127.0.0.1 took the message for ops@example.org, boss@example.org."
        [(sender, recipients, content)] = sink.messages
        assert (sender, recipients) == ("stax@example.org", ["ops@example.org", "boss@example.org"])
        found = message_from_bytes(content, policy=default)
        assert (found["Subject"], found["To"]) == (MESSAGE.title, "ops@example.org, boss@example.org")
        assert found["Auto-Submitted"] == "auto-generated"
        assert found.get_content().strip() == MESSAGE.text  # type: ignore[attr-defined]
        assert sink.logins == [("ops", CANARY)]

    def test_no_address_in_a_name_becomes_a_link(self, sink: SmtpSink) -> None:
        """Programs that show mail make links of plain text too."""
        text = "There is no price for model https://evil.example/a (ops@evil.example)."
        self.mail(sink).send(MESSAGE._replace(title="stax: evil.example", text=text))
        [(_, _, content)] = sink.messages
        found = message_from_bytes(content, policy=default)
        shown = found.get_content()  # type: ignore[attr-defined]
        assert "model https[:]//evil[.]example/a (ops[at]evil[.]example)." in shown
        assert found["Subject"] == "stax: evil[.]example"

    def test_a_wrong_password_is_told_without_it(self, sink: SmtpSink, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        channel = self.mail(sink, "ops:wr0ng-canary@")
        with pytest.raises(DeliveryFailed, match=r"it refused user or password \(535\)") as failed:
            channel.send(MESSAGE)
        assert sink.messages == []
        shown = str(failed.value) + repr(channel) + repr(failed.value.__context__) + caplog.text
        assert "wr0ng-canary" not in shown

    def test_some_refused_recipients_are_named_and_all_refused_is_a_failure(self, sink: SmtpSink) -> None:
        sink.refuse = {"boss@example.org"}
        assert self.mail(sink).send(MESSAGE).endswith(", but refused boss@example.org.")
        sink.refuse = {"boss@example.org", "ops@example.org"}
        with pytest.raises(DeliveryFailed, match=r"refused every recipient \(550\)"):
            self.mail(sink).send(MESSAGE)

    def test_nobody_there(self) -> None:
        with pytest.raises(DeliveryFailed, match="no connection, or a broken one"):
            Mail(MailServer("127.0.0.1", 1, False), "a@b", ("c@d",)).send(MESSAGE)

    def test_a_server_that_says_nothing_is_given_up_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.05)
        with SmtpSink(silent=True) as silent, pytest.raises(DeliveryFailed, match="no answer in time"):
            self.mail(silent).send(MESSAGE)

    def test_beyond_this_machine_a_server_without_starttls_hears_nothing(
        self, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MailServer, "is_loopback", False)
        with pytest.raises(DeliveryFailed, match="it offers no STARTTLS, so nothing was sent"):
            self.mail(sink, f"ops:{CANARY}@").send(MESSAGE)
        assert (sink.logins, sink.messages) == ([], [])


class TestTls:
    @pytest.fixture(scope="class")
    def certificate(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return make_certificate(tmp_path_factory.mktemp("tls"))

    @pytest.fixture
    def server(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        return context

    def test_starttls_comes_before_the_password(
        self, certificate: Path, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MailServer, "is_loopback", False)
        with SmtpSink(password=CANARY, tls=server) as sink:
            believed = {"STAX_CA_FILE": str(certificate)}
            [channel] = channels(read_settings(settings_for(sink, f"ops:{CANARY}@") | believed))
            channel.send(MESSAGE)
            assert len(sink.messages) == 1
            assert sink.said[:2] == ["EHLO", "STARTTLS"]
            assert sink.said.index("STARTTLS") < sink.said.index("AUTH")

    def test_a_certificate_that_only_a_variable_vouches_for_is_refused_before_the_password(
        self, certificate: Path, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client_context.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setattr(MailServer, "is_loopback", False)
        with SmtpSink(password=CANARY, tls=server) as sink:
            [channel] = channels(read_settings(settings_for(sink, f"ops:{CANARY}@")))
            with pytest.raises(DeliveryFailed, match="TLS failed"):
                channel.send(MESSAGE)
            assert (sink.logins, sink.messages) == ([], [])

    def test_smtps_is_tls_from_the_first_byte(self, certificate: Path, server: ssl.SSLContext) -> None:
        with SmtpSink(password=CANARY, tls=server, tls_at_once=True) as sink:
            believed = {"STAX_CA_FILE": str(certificate)}
            [channel] = channels(read_settings(settings_for(sink, f"ops:{CANARY}@", "smtps") | believed))
            channel.send(MESSAGE)
            assert len(sink.messages) == 1
            assert "STARTTLS" not in sink.said


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "sink.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_no_channel_is_set_by_default_and_both_can_be() -> None:
    assert channels(read_settings({})) == []
    both = read_settings(
        {
            "STAX_ALERT_WEBHOOK": "https://hooks.example.org/x", "STAX_ALERT_WEBHOOK_FORMAT": "slack",
            "STAX_ALERT_EMAIL_TO": "a@b.org", "STAX_ALERT_EMAIL_FROM": "c@d.org", "STAX_SMTP_URL": "smtp://h",
        }
    )  # fmt: skip
    assert [channel.name for channel in channels(both)] == ["webhook", "email"]
