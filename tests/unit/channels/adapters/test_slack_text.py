"""Texts and emoji, there and back: what people read is what apps get, and what apps say is what people read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.channels.adapters import slack_emoji, slack_text
from penstock.channels.testing import slack_workspace


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
        ("&amp;lt; stays an entity, &quot; too", "&lt; stays an entity, &quot; too"),
        ("<@U123>", "<@U123>"),
        ("<@W123|rose> and &lt;@U9&gt;", "<@W123> and <@U9>"),
        ("<#C123|greenhouse> <#C123|> <#C123>", "#greenhouse #C123 #C123"),
        ("<!here> <!channel> <!everyone> <!here|here>", "@here @channel @everyone here"),
        ("<!subteam^S1|@gardeners> <!subteam^S1>", "@gardeners @S1"),
        ("<!date^1772366400^{date} at {time}|noon>", "noon"),
        ("<https://x.y/?a=1&amp;b=2>", "https://x.y/?a=1&b=2"),
        ("<https://x.y/|the plan>", "the plan (https://x.y/)"),
        ("<https://x.y|x.y> <https://x.y/|x.y>", "x.y x.y"),
        ("<mailto:rose@x.y|rose@x.y> <mailto:rose@x.y|Rose>", "rose@x.y Rose (rose@x.y)"),
        ("<https://x.y|a &gt; b>", "a > b (https://x.y)"),
        ("<> <not closed", "<> <not closed"),
        ("*bold* stays", "*bold* stays"),
    ],
)
def test_markup_becomes_plain_text(raw, text):
    assert slack_text.plain(raw) == text


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("&lt;", "&amp;lt;"),
        ("ask <@U123>, not <!channel>", "ask <@U123>, not &lt;!channel&gt;"),
        ("<@U123|x> <@u123> <@U1 2> <https://x.y>", "&lt;@U123|x&gt; &lt;@u123&gt; &lt;@U1 2&gt; &lt;https://x.y&gt;"),
    ],
)
def test_plain_text_is_escaped_but_for_people(text, raw):
    assert slack_text.marked(text) == raw


@given(st.text())
def test_what_an_app_says_is_what_people_read_and_no_more(text):
    raw = slack_text.marked(text)
    workspace = slack_workspace.SlackWorkspace("x", lambda: 0)
    assert workspace.fault("chat.postMessage", {"channel": "C1", "text": raw}) in ("", LONG)
    assert "<!" not in raw
    assert slack_text.plain(raw) == text


LONG = "chat.postMessage: text is longer than 40000 characters and would be cut off"


@given(st.text())
def test_what_people_type_is_what_an_app_gets(text):
    assert slack_text.plain(slack_workspace.escaped(text)) == text


@given(st.text())
def test_no_raw_text_breaks_the_reader(raw):
    assert isinstance(slack_text.plain(raw), str)


@given(st.text(), st.text())
def test_nothing_escapes_from_a_link(url, label):
    link = slack_text.link(f"https://x.y/{url.encode('utf-8', 'ignore').decode()}", label)
    assert link[0] == "<"
    assert link[-1] == ">"
    assert not {"<", ">"} & set(link[1:-1])
    assert link.count("|") <= bool(label)


def test_every_emoji_has_a_name_and_every_name_a_character():
    for character, names in slack_emoji._rows():
        assert slack_emoji.name_of(character) == names[0]
        assert {slack_emoji.character_of(name) for name in names} == {character}


@pytest.mark.parametrize(
    ("reaction", "name"),
    [
        ("👍", "+1"),
        ("❤️", "heart"),
        ("❤", "heart"),
        ("👍🏽", "+1::skin-tone-4"),
        ("☝🏿", "point_up::skin-tone-6"),
        ("👩🏼‍💻", "female-technologist::skin-tone-3"),
        ("🇩🇪", "de"),
        ("#️⃣", "hash"),
        ("thumbsup", "thumbsup"),
        (":party_parrot:", "party_parrot"),
        ("wave::skin-tone-3", "wave::skin-tone-3"),
    ],
)
def test_reactions_have_slacks_names(reaction, name):
    assert slack_emoji.name_of(reaction) == name


@pytest.mark.parametrize("reaction", ["", "🤷🏻🏿", "two words", "👍👍", "é", "\0", "x" * 101, "<!channel>", "\ud800"])
def test_what_is_no_emoji_is_refused(reaction):
    with pytest.raises(errors.Rejected) as caught:
        slack_emoji.name_of(reaction)
    assert caught.value.code == "unknown_emoji"


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("thumbsup", "👍"),
        ("+1::skin-tone-4", "👍🏽"),
        ("point_up::skin-tone-6", "☝🏿"),
        ("heart", "❤️"),
        ("party_parrot", "party_parrot"),
        ("party_parrot::skin-tone-2", "party_parrot::skin-tone-2"),
        ("wave::nonsense", "wave::nonsense"),
    ],
)
def test_names_become_characters_where_there_is_one(name, character):
    assert slack_emoji.character_of(name) == character
