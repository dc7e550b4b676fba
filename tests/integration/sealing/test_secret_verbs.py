"""`penstock secret` against a running installation: the key is replaced under a core that goes on taking webhooks."""

import asyncio
import stat

import pytest

from penstock.servers import testing
from tests.e2e import conversation, processes
from tests.integration.app import installation


@pytest.fixture
def folder():
    with testing.temporary_folder() as path:
        yield path
        processes.kill(path)


def said(secret, webhook_url, text):
    """The status of one message that is posted with this secret."""

    async def say():
        async with conversation.Platform([secret], patience_s=60) as platform:
            platform.connect(webhook_url)
            return (await platform.say("room-0", text)).status

    return asyncio.run(say())


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_key_is_replaced_while_the_core_runs(folder):
    old, new = folder / "config" / "penstock" / "key", folder / "keys" / "next"
    before = installation.environment(folder)
    with installation.up(before) as installed:
        assert installed.call("tenant", "create", "acme").code == 0
        made = installed.call("account", "create", "shop", "-t", "acme", "--set", "url=http://127.0.0.1:9/", "--json")
        account, secret = made.document["id"], made.document["secret"]
        assert said(secret, made.document["webhook_url"], "one") == 200
        told = installed.call("secret", "new-key", str(new))
        assert (told.code, told.err) == (0, "")
        assert stat.S_IMODE(new.stat().st_mode) == 0o600
        assert new.read_text().strip() not in told.out
        assert installed.call("secret", "new-key", str(new)).code == 5

    only_new = {"PENSTOCK_SEALING__KEY_FILE": str(new)}
    both = {**only_new, "PENSTOCK_SEALING__OLD_KEY_FILE": str(old)}
    with installation.up({**before, **both}) as running:
        installed = installation.Installation(before, running.http_url)
        url = f"{running.http_url}/webhooks/webhook/{account}"
        assert "is missing here" in installed.call("secret", "status", **only_new).out
        refused = installed.call("secret", "rekey", **only_new)
        assert (refused.code, "sealed under key" in refused.err) == (2, True)
        planned = installed.call("secret", "rekey", "--dry-run", "--data-keys", "--json", **both).document
        assert (planned["wrapped"], planned["renewed"], planned["resealed"]) == (1, 1, 1)
        assert said(secret, url, "two") == 200
        done = installed.call("secret", "rekey", "--data-keys", "--json", **both).document
        assert (done["wrapped"], done["renewed"], done["resealed"], done["broken"]) == (1, 1, 1, [])
        assert "may be thrown away" in installed.call("secret", "status", **only_new).out
        assert said(secret, url, "three") == 200, "the core opens what is sealed anew"
        late = installed.call("tenant", "ls")
        assert (late.code, "are sealed under key" in late.err) == (2, True), "the old key alone opens nothing any more"
        added = installed.call("account", "secret", "add", account, "-t", "acme", "--json", **only_new)
        assert added.code == 0, added.err
        assert said(added.document["secret"], url, "four") == 200
