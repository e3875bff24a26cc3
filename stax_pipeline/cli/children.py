"""What of this command's environment its children get: the variables named here, and no others.

A list of what may pass, since no rule knows a secret by its name or value: other programs' (GITHUB_TOKEN, DATABASE_URL,
SENTRY_DSN) and misspelt settings are simply not on it. Our own secrets go another way (`process_secrets`).
"""

from __future__ import annotations

from collections.abc import Mapping

from stax_pipeline.cli.unknown_settings import ELSEWHERE, SETTINGS
from stax_pipeline.installation.process_secrets import OWN, PROXIES


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OF_A_PROGRAM = _names(
    "PATH HOME USER LOGNAME SHELL TERM TZ TZDIR LANG LANGUAGE TMPDIR TEMP TMP XDG_DATA_HOME XDG_CONFIG_HOME "
    "XDG_CACHE_HOME XDG_RUNTIME_DIR VIRTUAL_ENV LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH "
    "DYLD_FALLBACK_LIBRARY_PATH PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONUSERBASE PYTHONUTF8 "
    "PYTHONIOENCODING PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONHASHSEED PYTHONWARNINGS "
    "PYTHONFAULTHANDLER PYTHONDEVMODE"
)
"""What the system and Python read; `LC_…` besides."""
OF_DAGSTER = _names(
    "DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH DAGSTER_GRPC_TIMEOUT_SECONDS DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS "
    "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS DAGSTER_GRPC_MAX_RX_BYTES DAGSTER_GRPC_MAX_SEND_BYTES"
)
OF_POSTGRES = _names(
    "PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSFILE PGSERVICE PGSERVICEFILE PGSYSCONFDIR PGOPTIONS PGSSLMODE "
    "PGSSLCERT PGSSLKEY PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGREQUIRESSL PGREQUIREAUTH PGCHANNELBINDING PGREQUIREPEER "
    "PGGSSENCMODE PGGSSLIB PGKRBSRVNAME PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS KRB5CCNAME KRB5_CONFIG "
    "KRB5_KTNAME"
)
"""What libpq reads besides an address, but PGPASSWORD: a password belongs into the address."""
OF_STORAGE = _names(
    "AWS_REGION AWS_DEFAULT_REGION AWS_ALLOW_HTTP AWS_VIRTUAL_HOSTED_STYLE_REQUEST AWS_S3_EXPRESS AWS_IMDSV1_FALLBACK "
    "AWS_UNSIGNED_PAYLOAD AWS_CHECKSUM_ALGORITHM AWS_SKIP_SIGNATURE AWS_DISABLE_TAGGING AWS_REQUEST_PAYER "
    "AWS_CONDITIONAL_PUT AWS_COPY_IF_NOT_EXISTS AWS_SERVER_SIDE_ENCRYPTION AWS_SSE_KMS_KEY_ID "
    "AWS_SSE_BUCKET_KEY_ENABLED AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE "
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE "
    "GOOGLE_APPLICATION_CREDENTIALS GOOGLE_SERVICE_ACCOUNT GOOGLE_SERVICE_ACCOUNT_PATH GOOGLE_SKIP_SIGNATURE "
    "GCE_METADATA_HOST GCE_METADATA_ROOT GCE_METADATA_IP SSL_CERT_FILE SSL_CERT_DIR NO_PROXY no_proxy"
)
"""What object storage's client reads: names, and names of files."""
ADDRESSES = _names(
    "AWS_ENDPOINT AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_STS AWS_METADATA_ENDPOINT "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI"
).union(PROXIES)
"""And addresses, which do not pass where they hold a user or a password."""
OPEN_SETTINGS = SETTINGS - OWN
_OF_DAGSTERS_PROCESSES = OF_A_PROGRAM | OF_DAGSTER | OF_POSTGRES | OF_STORAGE | ADDRESSES | OPEN_SETTINGS | ELSEWHERE


def of_a_program(environment: Mapping[str, str]) -> dict[str, str]:
    """For a program that needs nothing of the product."""
    return _passed(environment, OF_A_PROGRAM)


def of_dagsters_processes(environment: Mapping[str, str]) -> dict[str, str]:
    """For Dagster's processes, which run the product's code."""
    found = _passed(environment, _OF_DAGSTERS_PROCESSES)
    return {name: value for name, value in found.items() if name not in ADDRESSES or "@" not in value}


def open_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that are set and hold no secret."""
    return {name: environment[name] for name in sorted(OPEN_SETTINGS) if environment.get(name)}


def _passed(environment: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name in names or name.startswith("LC_")}
