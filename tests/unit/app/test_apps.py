"""What an app may know of the environment of whoever starts it."""

from penstock.app import apps


def test_an_app_is_told_where_spans_go_and_not_with_which_key():
    environ = {
        "PATH": "/bin",
        "PENSTOCK_SDK__LOG_LEVEL": "info",
        "PENSTOCK_TELEMETRY__OTLP_ENDPOINT": "https://example.org",
        "PENSTOCK_TELEMETRY__OTLP_SHARE": "0.1",
        "PENSTOCK_TELEMETRY__OTLP_HEADERS_FILE": "/etc/collector",
        "PENSTOCK_TELEMETRY__OTLP_HEADERS": "api-key=secret",
        "PENSTOCK_TELEMETRY__LOG_LEVEL": "debug",
        "PENSTOCK_POSTGRES_URL": "postgresql://secret",
        "PENSTOCK_SEALING_KEY": "secret",
    }
    told = apps._for_an_app(environ)
    assert "secret" not in str(told)
    assert set(environ) - set(told) == {
        "PENSTOCK_TELEMETRY__OTLP_HEADERS",
        "PENSTOCK_TELEMETRY__LOG_LEVEL",
        "PENSTOCK_POSTGRES_URL",
        "PENSTOCK_SEALING_KEY",
    }
