"""The wire contract cannot change unseen: buf refuses a broken copy, and a silent refresh of the image is refused."""

import shutil

import pytest

from tests.house import tree

contract = tree.load_script("proto/contract.py")
generate = tree.load_script("proto/generate.py")

PROTO = """syntax = "proto3";

// For tests.
package penstock.v1;

// A word.
message Word {
  string text = 1;
  int32 count = 2;
}
"""


@pytest.fixture
def promised(tmp_path):
    """A small repository whose contract was accepted."""
    folder = tmp_path / "proto" / "penstock" / "v1"
    folder.mkdir(parents=True)
    shutil.copy(tree.REPOSITORY / "proto" / "buf.yaml", tmp_path / "proto" / "buf.yaml")
    (folder / "word.proto").write_text(PROTO, encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n### Contract\n", encoding="utf-8")
    contract.accept(tmp_path, "the first words")
    return tmp_path


def rewrite(root, old, new):
    path = root / "proto" / "penstock" / "v1" / "word.proto"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_this_repository_honours_its_contract():
    assert contract.problems(tree.REPOSITORY) == []


def test_an_accepted_contract_is_honoured(promised):
    assert contract.problems(promised) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  int32 count = 2;\n", "", "deleted"),
        ("string text = 1", "bytes text = 1", "changed type"),
        ("string text = 1", "string words = 1", "changed name"),
        ("message Word", "message Term", "deleted"),
        ("int32 count = 2", "int32 count = 3", "deleted"),
    ],
)
def test_a_breaking_change_fails(promised, old, new, says):
    rewrite(promised, old, new)
    found = contract.problems(promised)
    assert "this breaks what others were promised (proto/contract.binpb):" in found
    assert any(says in line for line in found)


def test_a_broken_copy_of_the_real_contract_fails(tmp_path):
    shutil.copytree(tree.REPOSITORY / "proto", tmp_path / "proto")
    shutil.copy(tree.REPOSITORY / "CHANGELOG.md", tmp_path)
    message = tmp_path / "proto" / "penstock" / "v1" / "message.proto"
    text = message.read_text(encoding="utf-8")
    assert "string event_id = 1;" in text
    message.write_text(text.replace("string event_id = 1;", "int64 event_id = 1;"), encoding="utf-8")
    assert any("event_id" in line for line in contract.problems(tmp_path))


def test_an_addition_waits_for_acceptance(promised):
    rewrite(promised, "  int32 count = 2;\n", "  int32 count = 2;\n  bool loud = 3;\n")
    assert any("loud" in line for line in contract.problems(promised))
    contract.accept(promised, "words may be loud")
    assert contract.problems(promised) == []
    assert "BREAKING" not in (promised / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_breaking_acceptance_says_so(promised):
    rewrite(promised, "  int32 count = 2;\n", "")
    contract.accept(promised, "nobody counts")
    assert "BREAKING: nobody counts" in (promised / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_silent_refresh_of_the_image_is_refused(promised):
    changelog = promised / "CHANGELOG.md"
    before = changelog.read_text(encoding="utf-8")
    rewrite(promised, "  int32 count = 2;\n", "")
    contract.accept(promised, "by hand")
    changelog.write_text(before, encoding="utf-8")
    assert contract.problems(promised) == [
        "proto/contract.binpb was changed without `make contract REASON=...`: CHANGELOG.md does not record it"
    ]


def test_lint_is_part_of_the_contract(promised):
    rewrite(promised, "int32 count = 2", "int32 theCount = 2")
    assert any("lower_snake_case" in line for line in contract.problems(promised))


def test_generated_code_is_what_the_proto_files_make():
    modules = generate.generate(tree.REPOSITORY / "proto")
    assert generate.differences(modules, tree.REPOSITORY / "src" / "penstock" / "messages" / "v1") == []


def test_generated_code_that_differs_is_named(promised):
    modules = generate.generate(promised / "proto")
    target = promised / "made"
    generate.write(modules, target)
    assert generate.differences(modules, target) == []
    (target / "word_pb2.py").write_text("# edited", encoding="utf-8")
    (target / "word_pb2.pyi").unlink()
    (target / "gone_pb2.py").write_text("", encoding="utf-8")
    lines = "\n".join(generate.differences(modules, target))
    assert "word_pb2.py differs" in lines
    assert "word_pb2.pyi is missing" in lines
    assert "gone_pb2.py is no longer generated" in lines
    generate.write(modules, target)
    assert generate.differences(modules, target) == []


def test_generated_imports_point_into_the_house(promised):
    folder = promised / "proto" / "penstock" / "v1"
    source = PROTO.replace("package penstock.v1;", 'package penstock.v1;\n\nimport "penstock/v1/word.proto";')
    source = source.replace("message Word {\n  string text = 1;", "message Phrase {\n  Word word = 1;")
    service = "\n// Speaks.\nservice SpeechService {\n  // Says it.\n  rpc Say(Phrase) returns (Phrase);\n}\n"
    (folder / "phrase.proto").write_text(source + service, encoding="utf-8")
    modules = generate.generate(promised / "proto")
    assert "from penstock.messages.v1 import word_pb2" in modules["phrase_pb2.py"]
    assert "from penstock.messages.v1 import phrase_pb2" in modules["phrase_pb2_grpc.py"]
    assert "word_pb2_grpc.py" not in modules
    assert not any("'penstock.v1.phrase_pb2'" in text or "from penstock.v1" in text for text in modules.values())
