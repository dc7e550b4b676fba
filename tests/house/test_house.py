"""The building's rules hold here, and each of them is seen to refuse what it must refuse."""

import pytest

from tests.house import tree
from tests.house.rule import Rule
from tests.house.rules import (
    committed,
    docstrings,
    documents,
    migrations,
    names,
    packages,
    personal,
    safety,
    sizes,
    testing,
    walls,
)

RULES = [
    found
    for module in (
        committed,
        docstrings,
        documents,
        migrations,
        names,
        packages,
        personal,
        safety,
        sizes,
        testing,
        walls,
    )
    for found in vars(module).values()
    if isinstance(found, Rule)
]
BROKEN = [
    pytest.param(rule, example, id=f"{rule.name}-{number}")
    for rule in RULES
    for number, example in enumerate(rule.broken_by)
]
KEPT = [
    pytest.param(rule, files, id=f"{rule.name}-{number}") for rule in RULES for number, files in enumerate(rule.kept_by)
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_house_keeps_the_rule(rule):
    violations = rule.check(tree.REPOSITORY)
    assert not violations, "\n".join(["", *violations])


@pytest.mark.parametrize(("rule", "example"), BROKEN)
def test_the_rule_refuses(rule, example, tmp_path):
    example.build(tmp_path)
    assert any(example.says in violation for violation in rule.check(tmp_path))


@pytest.mark.parametrize(("rule", "files"), KEPT)
def test_the_rule_lets_pass(rule, files, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert rule.check(tmp_path) == []
