"""An earlier build and this one share a bus and a database, and a conversation goes on across both."""

from pathlib import Path

import pytest

from tests.soak import earlier, measured


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_conversation_across_two_builds(folder: Path, measured: measured.Measured) -> None:
    source = folder / "earlier"
    source.mkdir(mode=0o711)
    build = earlier.unpacked("HEAD", source)
    async with earlier.opened(folder, build) as both:
        verdict = await earlier.converse(*both)
        assert not [text for stage in both for text in await stage.not_kept()]
    measured.row(f"{build.name} beside this build", verdict)
    assert verdict.good, verdict
    assert not verdict.excused


def test_an_unknown_revision_is_one_sentence(folder: Path) -> None:
    with pytest.raises(earlier.NoBuild, match="no-such-revision"):
        earlier.unpacked("no-such-revision", folder)
