"""All settings at once: defaults, file, environment, the option; short names; what nobody reads is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.app import configuration
from penstock.base import errors


def written(folder: Path, text: str) -> str:
    path = folder / "penstock.toml"
    path.write_text(text)
    return str(path)


def refused(environ: dict[str, str]) -> errors.Rejected:
    with pytest.raises(errors.Rejected) as found:
        configuration.load(environ)
    return found.value


def test_nothing_said_is_the_defaults():
    found = configuration.load({})
    assert (found.edge.host, found.edge.port, found.telemetry.log_level) == ("127.0.0.1", 0, "info")
    assert found.sealing.key is None


def test_the_environment_beats_the_file_which_beats_the_defaults(tmp_path):
    file = written(tmp_path, "[edge]\nport = 1\nin_flight = 2\n[channels]\nresends = 3\n")
    found = configuration.load({"PENSTOCK_CONFIG": file, "PENSTOCK_EDGE__PORT": "4"})
    assert (found.edge.port, found.edge.in_flight, found.channels.resends, found.edge.drain_s) == (4, 2, 3, 20.0)


def test_the_option_beats_them_all(tmp_path):
    file = written(tmp_path, "[servers]\ndata_folder = '/file'\n")
    environ = {"PENSTOCK_CONFIG": file, "PENSTOCK_SERVERS__DATA_FOLDER": "/long", "PENSTOCK_DATA": "/short"}
    assert configuration.load(environ, data_folder=Path("/option")).servers.data_folder == Path("/option")
    assert configuration.load(environ).servers.data_folder == Path("/long")
    del environ["PENSTOCK_SERVERS__DATA_FOLDER"]
    assert configuration.load(environ).servers.data_folder == Path("/short")
    del environ["PENSTOCK_DATA"]
    assert configuration.load(environ).servers.data_folder == Path("/file")


@pytest.mark.parametrize(("short", "place"), configuration.SHORT.items())
def test_a_short_name_stands_for_the_long_one(short, place):
    room, field = place
    long = f"PENSTOCK_{room}__{field}".upper()
    assert configuration.load({short: "x://y"}) == configuration.load({long: "x://y"}) != configuration.load({})


@pytest.mark.parametrize("short", configuration.SHORT)
def test_an_empty_short_name_is_as_good_as_none(short):
    assert configuration.load({short: ""}) == configuration.load({})


@pytest.mark.parametrize(
    "name", ["PENSTOCK_NOSUCHROOM__X", "PENSTOCK_EGDE__PORT", "PENSTOCK_CHANNEL__RESENDS", "PENSTOCK___X"]
)
def test_a_room_that_nobody_has_is_refused_by_name(name):
    found = refused({name: "1"})
    assert (found.code, found.field) == ("unknown_room", name)
    assert name in found.detail
    assert "channels" in found.hint


def test_variables_of_others_are_left_alone():
    """Orchestrators make some from a service called penstock; apps have their own room."""
    others = {
        "PENSTOCK_SERVICE_HOST": "10.0.0.1",
        "PENSTOCK_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "PENSTOCK_SDK__LOG_LEVEL": "info",
        "PENSTOCK_TENANT": "acme",
        "PENSTOCKS__X": "1",
        "EDGE__PORT": "1",
    }
    assert configuration.load(others) == configuration.load({})


def test_a_table_that_no_room_reads_is_refused(tmp_path):
    found = refused({"PENSTOCK_CONFIG": written(tmp_path, "[egde]\nport = 1\n")})
    assert (found.code, found.field) == ("unknown_room", "egde")


def test_a_secret_is_read_and_never_shown(tmp_path):
    environ = {"PENSTOCK_POSTGRES_URL": "postgresql://u:swordfish@h/d", "PENSTOCK_SEALING_KEY": "swordfish"}
    found = configuration.load(environ)
    assert "swordfish" not in repr(found)
    assert found.servers.postgres_url is not None
    assert found.servers.postgres_url.reveal() == environ["PENSTOCK_POSTGRES_URL"]


def test_the_key_file_is_in_the_users_config_folder():
    assert configuration.load({"XDG_CONFIG_HOME": "/conf"}).key_file == Path("/conf/penstock/key")


@given(
    st.dictionaries(
        st.sampled_from([f"PENSTOCK_{room}__X".upper() for room in configuration.ROOMS]), st.text(), min_size=1
    )
)
def test_law_an_unknown_field_of_any_room_is_refused(environ):
    assert refused(environ).code == "unknown_setting"
