"""Migration files: read in order, named apart, and never the same after a change."""

from penstock.database import migrations, transaction
from penstock.state import outbox


def test_files_are_read_in_order_and_others_left_alone(tmp_path):
    for name, text in (("0002_b.sql", "select 2"), ("0001_a.sql", "select 1"), ("notes.txt", "no"), ("0010_c.sql", "")):
        (tmp_path / name).write_text(text)
    found = migrations.from_folder(tmp_path, prefix="x.")
    assert [(each.name, each.sql) for each in found] == [
        ("x.0001_a", "select 1"),
        ("x.0002_b", "select 2"),
        ("x.0010_c", ""),
    ]


def test_a_package_brings_its_folder():
    assert [each.name for each in migrations.from_folder("penstock.sealing")][:1] == ["0001_data_key"]
    assert [each.name for each in outbox.MIGRATIONS] == ["state.0001_outbox", "state.0002_outbox_streams"]


def test_any_change_shows_in_the_checksum():
    one, other = migrations.Migration("0001_a", "select 1"), migrations.Migration("0001_a", "select 1 ")
    assert one.checksum != other.checksum
    assert one.checksum == migrations.Migration("0001_b", "select 1").checksum


def test_tenants_are_bound_as_a_literal_that_nothing_escapes_from():
    def literal(*tenants):
        return transaction.Binding("role", tenants).literal()

    assert literal() == "{}"
    assert literal("acme", "globex") == '{"acme","globex"}'
    assert literal('a","b', "\\", '"') == '{"a\\",\\"b","\\\\","\\""}'
