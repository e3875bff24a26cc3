"""The file in which Dagster's processes get them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.lake.store import Lake

SECRETS = {
    "STAX_MASTER_KEY": "k", "STAX_DATABASE_URL": "postgresql://u:p@localhost/d", "STAX_ALERT_WEBHOOK": "https://h/x",
    "AWS_SECRET_ACCESS_KEY": "s", "AWS_ACCESS_KEY_ID": "i", "GOOGLE_SERVICE_ACCOUNT_KEY": "{}",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "secrets.json"
    monkeypatch.setenv(process_secrets.VARIABLE, str(made))
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    return made


def test_settings_and_lake_take_them_from_the_file(file: Path) -> None:
    file.write_text("what was there before, open to all")
    file.chmod(0o644)
    process_secrets.write(file, SECRETS)
    assert file.stat().st_mode & 0o777 == 0o600
    found = read_settings()
    assert (found.master_key, found.alert_webhook) == ("k", "https://h/x")
    assert "u:p@localhost/d" in found.database_url
    assert process_secrets.of_storage("s3://b/p") == {"aws_secret_access_key": "s", "aws_access_key_id": "i"}
    assert process_secrets.of_storage("gs://b/p") == {"google_service_account_key": "{}"}
    assert process_secrets.of_storage("/var/lake") == {}
    assert Lake("s3://b/p").url == "s3://b/p"  # refused without the key's other half: "Missing AccessKeyId"


def test_the_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process_secrets.write(file, SECRETS)
    monkeypatch.setenv("STAX_MASTER_KEY", "other")
    assert read_settings().master_key == "other"


@pytest.mark.parametrize("damage", ["missing", "open", "no JSON"])
def test_a_file_that_is_not_ours_alone_is_refused(file: Path, damage: str) -> None:
    if damage != "missing":
        process_secrets.write(file, SECRETS)
    if damage == "open":
        file.chmod(0o644)
    if damage == "no JSON":
        file.write_text("{")
    with pytest.raises(WrongUse, match=str(file) if damage == "open" else process_secrets.VARIABLE):
        read_settings()
    assert os.environ[process_secrets.VARIABLE] == str(file)
