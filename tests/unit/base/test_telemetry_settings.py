"""Where spans may go, and that a collector's key is never quoted, nor sent in clear to another machine."""

import pytest

from penstock.base import errors, settings
from penstock.base.telemetry_settings import TelemetrySettings

SECRET = settings.Secret("api-key=s3cr=et, x-org : acme inc")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("", ""),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://example.org/otlp", "https://example.org/otlp/v1/traces"),
        ("https://example.org/v1/traces", "https://example.org/v1/traces"),
    ],
)
def test_spans_go_below_the_endpoint(endpoint, url):
    assert TelemetrySettings(otlp_endpoint=endpoint).traces_url == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:4318",
        "ftp://here",
        "http://",
        "http://user:word@here",
        "http://here:port",
        "http://here/?a=b",
        "http://here/ x",
        "http://h\xe9re",
        "http://[::1",
    ],
)
def test_what_is_no_such_url_is_refused(endpoint):
    with pytest.raises(errors.Rejected) as refused:
        TelemetrySettings(otlp_endpoint=endpoint)
    assert refused.value.field == "telemetry.otlp_endpoint"
    assert "word" not in refused.value.detail.replace("password", "")


def test_headers_are_names_and_values(tmp_path):
    found = TelemetrySettings(otlp_endpoint="https://example.org", otlp_headers=SECRET).headers()
    assert found == {"api-key": "s3cr=et", "x-org": "acme inc"}
    file = tmp_path / "headers"
    file.write_text("api-key: s3cr=et\n\nx-org=acme inc\n")
    assert TelemetrySettings(otlp_headers_file=file).headers() == found
    assert TelemetrySettings().headers() == {}
    assert "s3cr" not in repr(TelemetrySettings(otlp_headers=SECRET))


@pytest.mark.parametrize("text", ["name", "=value", "na me=x", "name=a\rb", "name=\xe9", "name="])
def test_a_header_that_is_none_is_refused_and_not_quoted(text):
    with pytest.raises(errors.Rejected) as refused:
        TelemetrySettings(otlp_headers=settings.Secret(f"api-key=abc,{text}")).headers()
    assert "abc" not in f"{refused.value}"


def test_a_file_that_cannot_be_read_is_named_by_its_setting(tmp_path):
    with pytest.raises(errors.Rejected) as refused:
        TelemetrySettings(otlp_headers_file=tmp_path / "nowhere").headers()
    assert refused.value.field == "telemetry.otlp_headers_file"


def test_a_key_does_not_travel_in_clear(tmp_path):
    with pytest.raises(errors.Rejected):
        TelemetrySettings(otlp_endpoint="http://collector:4318", otlp_headers=SECRET)
    with pytest.raises(errors.Rejected):
        TelemetrySettings(otlp_endpoint="http://collector:4318", otlp_headers_file=tmp_path / "headers")
    for near in ("http://localhost:4318", "http://[::1]:4318"):
        assert TelemetrySettings(otlp_endpoint=near, otlp_headers=SECRET).headers()


@pytest.mark.parametrize(
    "wrong", [{"log_level": "loud"}, {"otlp_share": 1.1}, {"otlp_share": -0.1}, {"otlp_share": float("nan")}]
)
def test_other_values_are_checked(wrong):
    with pytest.raises(errors.Rejected):
        TelemetrySettings(**wrong)


def test_apps_are_told_where_and_not_with_which_key(tmp_path):
    assert TelemetrySettings().for_apps() == {}
    file = tmp_path / "headers"
    told = TelemetrySettings(otlp_endpoint="https://example.org", otlp_headers_file=file, otlp_share=0.5).for_apps()
    assert settings.load(TelemetrySettings, "telemetry", {}, told) == TelemetrySettings(
        otlp_endpoint="https://example.org", otlp_headers_file=file, otlp_share=0.5
    )
    assert "s3cr" not in str(TelemetrySettings(otlp_endpoint="https://example.org", otlp_headers=SECRET).for_apps())


def test_headers_come_from_one_place(tmp_path):
    with pytest.raises(errors.Rejected):
        TelemetrySettings(otlp_headers=SECRET, otlp_headers_file=tmp_path / "headers")
