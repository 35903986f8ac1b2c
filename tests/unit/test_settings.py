"""Settings: where they come from, what is refused, what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from guilder.platform.identity_settings import OtpStore
from guilder.platform.settings import Environment, Settings, WrongSettings, load, shown


def settings_of(folder: Path, **variables: str) -> Settings:
    return load({f"GUILDER_{name}": value for name, value in variables.items()}, folder=folder)[0]


def test_nothing_has_to_be_set_in_a_sandbox(tmp_path: Path):
    settings, warnings = load({}, folder=tmp_path)

    assert warnings == ()
    assert settings.env is Environment.SANDBOX
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.rate_limit == "100/minute"
    assert settings.funds_simulated
    assert settings.hosts == ()


def test_production_has_no_simulated_funds_unless_they_are_asked_for(tmp_path: Path):
    production = {
        "ENV": "production",
        "ALLOWED_HOSTS": "bank.example.org",
        "PUBLIC_URL": "https://bank.example.org",
    }

    assert not settings_of(tmp_path, **production).funds_simulated
    assert settings_of(tmp_path, **production, FUNDING="simulated").funds_simulated


def test_codes_are_kept_in_redis_only_where_there_is_one(tmp_path: Path):
    with pytest.raises(WrongSettings, match="GUILDER_OTP_STORE=redis needs GUILDER_REDIS_URL"):
        settings_of(tmp_path, OTP_STORE="redis")

    settings = settings_of(tmp_path, OTP_STORE="redis", REDIS_URL="redis://localhost:6379/0")

    assert settings.otp_store is OtpStore.REDIS
    assert settings_of(tmp_path).otp_store is OtpStore.DATABASE


def test_the_environment_wins_over_the_file(tmp_path: Path):
    (tmp_path / "guilder.env").write_text("GUILDER_PORT=9000\nGUILDER_WORKERS=2\nOTHER=1\n")

    settings = settings_of(tmp_path, PORT="9001")

    assert (settings.port, settings.workers) == (9001, 2)


def test_a_named_file_is_read_instead(tmp_path: Path):
    (tmp_path / "guilder.env").write_text("GUILDER_PORT=9000\n")
    (tmp_path / "mine.env").write_text("GUILDER_PORT=9100\n")

    assert settings_of(tmp_path, CONFIG_FILE="mine.env").port == 9100


def test_a_named_file_that_is_missing_is_told(tmp_path: Path):
    with pytest.raises(WrongSettings, match="GUILDER_CONFIG_FILE"):
        settings_of(tmp_path, CONFIG_FILE="gone.env")


def test_an_empty_variable_counts_as_unset(tmp_path: Path):
    assert settings_of(tmp_path, PORT="", DATABASE_URL=" ") == Settings()


def test_an_unknown_variable_is_warned_of(tmp_path: Path):
    _, warnings = load({"GUILDER_PROT": "1", "PATH": "/bin"}, folder=tmp_path)

    assert warnings == ("GUILDER_PROT is not a setting of Guilder; see `guilder settings`",)


def test_a_context_elsewhere_is_named_by_its_url(tmp_path: Path):
    settings = settings_of(tmp_path, LEDGER_URL="http://ledger:8001/")

    assert settings.service_urls == {"ledger": "http://ledger:8001"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ENV", "staging"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("RATE_LIMIT", "fast"),
        ("RATE_LIMIT", "0/minute"),
        ("LOG_LEVEL", "loud"),
        ("DATABASE_URL", "mysql://db/guilder"),
        ("DEFAULT_REGION", "India"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("FUNDING", "real"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(
    tmp_path: Path, variable: str, value: str
):
    with pytest.raises(WrongSettings) as refused:
        settings_of(tmp_path, **{variable: value})

    (line,) = refused.value.lines
    assert line.startswith(f"GUILDER_{variable}: ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("variable", "value"), [("FAILPOINTS", "batch.locked=kill"), ("RATE_LIMIT", "off")]
)
def test_what_weakens_it_is_refused_in_production(tmp_path: Path, variable: str, value: str):
    production = {"ENV": "production", "ALLOWED_HOSTS": "bank.example.org"}

    with pytest.raises(WrongSettings, match=f"GUILDER_{variable}"):
        settings_of(tmp_path, **production, **{variable: value})
    assert settings_of(tmp_path, **{variable: value}).env is Environment.SANDBOX


@pytest.mark.parametrize("given", [{}, {"PUBLIC_URL": "http://localhost"}], ids=["none", "http"])
def test_production_has_to_name_its_address(tmp_path: Path, given: dict[str, str]):
    with pytest.raises(WrongSettings, match="GUILDER_PUBLIC_URL"):
        settings_of(tmp_path, ENV="production", ALLOWED_HOSTS="bank.example.org", **given)


def test_production_has_to_name_its_hosts(tmp_path: Path):
    with pytest.raises(WrongSettings, match="GUILDER_ALLOWED_HOSTS"):
        settings_of(tmp_path, ENV="production")


def test_a_sandbox_on_a_network_address_answers_to_any_name(tmp_path: Path):
    assert settings_of(tmp_path, HOST="0.0.0.0").hosts == ("*",)


def test_settings_cannot_be_changed_later():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # that is what is tested


def test_secrets_are_masked_where_settings_are_shown(tmp_path: Path):
    settings = settings_of(
        tmp_path,
        DATABASE_URL="postgresql://anna:open-sesame@db:5432/guilder?password=open-sesame",
        METRICS_TOKEN="open-sesame",
    )

    values = {variable: value for variable, _, _, value in shown(settings)}

    assert values["GUILDER_DATABASE_URL"] == ("postgresql://anna:***@db:5432/guilder?password=***")
    assert values["GUILDER_METRICS_TOKEN"] == "***"
    assert "open-sesame" not in repr(settings)


def test_a_wrong_secret_is_not_repeated_in_the_refusal(tmp_path: Path):
    with pytest.raises(WrongSettings) as refused:
        settings_of(tmp_path, DATABASE_URL="http://anna:open-sesame@db/guilder")

    assert "open-sesame" not in str(refused.value)


def test_every_setting_says_what_it_means():
    assert all(len(meaning) > 20 for _, meaning, _, _ in shown(Settings()))


def test_receivers_of_tests_are_refused_in_production(tmp_path: Path):
    allowed = {"EGRESS_ALLOW": "127.0.0.1:9000, [::1]:*"}

    assert settings_of(tmp_path, **allowed).egress_allow == ("127.0.0.1:9000", "[::1]:*")
    with pytest.raises(WrongSettings, match="GUILDER_EGRESS_ALLOW is refused in production"):
        settings_of(tmp_path, **allowed, ENV="production", ALLOWED_HOSTS="bank.example.org")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EGRESS_ALLOW", "localhost:9000"),
        ("EGRESS_ALLOW", "127.0.0.1"),
        ("EGRESS_PORTS", "0"),
        ("EGRESS_PORTS", "https"),
        ("WEBHOOK_RETRY_S", "5,soon"),
        ("WEBHOOK_RETRY_S", "-1"),
        ("WEBHOOK_TIMEOUT_S", "0"),
    ],
)
def test_where_and_when_webhooks_are_sent_is_checked(tmp_path: Path, name: str, value: str):
    with pytest.raises(WrongSettings, match=f"GUILDER_{name}"):
        settings_of(tmp_path, **{name: value})


def test_the_schedule_of_webhooks_can_be_shortened(tmp_path: Path):
    assert settings_of(tmp_path, WEBHOOK_RETRY_S="0.1, 2").webhook_retry_s == (0.1, 2.0)


def test_a_passphrase_that_is_too_short_is_refused_and_not_told_back(tmp_path: Path):
    with pytest.raises(WrongSettings) as refused:
        settings_of(tmp_path, KEY_PASSPHRASE="tooshort")

    assert refused.value.lines == ("GUILDER_KEY_PASSPHRASE: it has fewer than 12 characters",)


def test_a_passphrase_is_given_once(tmp_path: Path):
    with pytest.raises(WrongSettings, match="not both"):
        settings_of(
            tmp_path, KEY_PASSPHRASE="correct horse battery", KEY_PASSPHRASE_FILE="passphrase"
        )


@pytest.mark.parametrize(
    ("origins", "domain"),
    [
        ("https://bank.example", None),
        ("https://app.bank.example, https://bank.example", "bank.example"),
        ("http://localhost:8000", "localhost"),
    ],
)
def test_passkeys_are_used_from_origins_of_one_domain(
    tmp_path: Path, origins: str, domain: str | None
):
    environ = {"GUILDER_PASSKEY_ORIGINS": origins}
    if domain is not None:
        environ["GUILDER_PASSKEY_DOMAIN"] = domain

    settings, _ = load(environ, folder=tmp_path)

    assert ", ".join(settings.passkey_origins) == origins
    assert settings.passkey_domain == domain


@pytest.mark.parametrize(
    ("origins", "domain"),
    [
        ("bank.example", None),
        ("http://bank.example", None),
        ("https://bank.example/app", None),
        ("https://user@bank.example", None),
        ("https://bank.example", "example.bank"),
        ("https://evilbank.example", "bank.example"),
        ("https://bank.example, https://other.example", None),
    ],
)
def test_passkeys_are_refused_where_no_browser_would_offer_them(
    tmp_path: Path, origins: str, domain: str | None
):
    environ = {"GUILDER_PASSKEY_ORIGINS": origins}
    if domain is not None:
        environ["GUILDER_PASSKEY_DOMAIN"] = domain

    with pytest.raises(WrongSettings):
        load(environ, folder=tmp_path)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http://localhost:8000"),
        ({"GUILDER_PORT": "9000"}, "http://localhost:9000"),
        ({"GUILDER_HOST": "10.0.0.5"}, "http://10.0.0.5:8000"),
        ({"GUILDER_PUBLIC_URL": "https://bank.example/"}, "https://bank.example"),
    ],
    ids=str,
)
def test_an_installation_is_reached_where_it_says(
    environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    settings, _ = load(environ, folder=tmp_path)

    assert settings.base_url == expected


@pytest.mark.parametrize("url", ["bank.example", "http://bank.example", "https://a/b", "https://"])
def test_a_public_url_is_https_and_a_host(url: str, tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="GUILDER_PUBLIC_URL"):
        load({"GUILDER_PUBLIC_URL": url}, folder=tmp_path)


def test_browsers_come_back_from_providers_by_https_in_production(tmp_path: Path) -> None:
    production = {
        "GUILDER_ENV": "production",
        "GUILDER_ALLOWED_HOSTS": "bank.example",
        "GUILDER_SIGN_IN_PROVIDERS": "providers.json",
    }

    with pytest.raises(WrongSettings, match="GUILDER_PUBLIC_URL"):
        load(production, folder=tmp_path)
    with pytest.raises(WrongSettings, match="GUILDER_PUBLIC_URL"):
        load({**production, "GUILDER_PUBLIC_URL": "http://localhost"}, folder=tmp_path)

    settings, _ = load(
        {**production, "GUILDER_PUBLIC_URL": "https://bank.example"}, folder=tmp_path
    )
    assert settings.base_url == "https://bank.example"
