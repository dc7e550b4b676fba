"""The suite itself is tested: an adapter that breaks one promise is found out, by that promise's name."""

import dataclasses

import pytest

from penstock.base import errors, ids
from penstock.channels import ports
from penstock.channels.testing import conformance, fake_channel, fake_trial

Fake = fake_channel.FakeChannel


class LetsEverybodyIn(Fake):
    def verify(self, request, credentials):
        pass


class OpenWithoutSecrets(Fake):
    def verify(self, request, credentials):
        if credentials.secrets:
            super().verify(request, credentials)


class NewestSecretOnly(Fake):
    def verify(self, request, credentials):
        super().verify(request, ports.Credentials(credentials.secrets[:1]))


class IgnoresTheTime(Fake):
    def verify(self, request, credentials):
        signed_at = request.headers.get("fake-timestamp", "")
        if signed_at.isdigit() and len(signed_at) < 12:
            moment = request.received_at.fromtimestamp(int(signed_at), request.received_at.tzinfo)
            request = dataclasses.replace(request, received_at=moment)
        super().verify(request, credentials)


class ForgivesNoSecond(Fake):
    def verify(self, request, credentials):
        super().verify(request, credentials)
        if abs(request.received_at.timestamp() - float(request.headers["fake-timestamp"])) > 1:
            raise errors.Rejected("stale", "too old", status=401)


class SignsTheHeadOnly(Fake):
    def verify(self, request, credentials):
        if not request.headers.get("fake-signature"):
            raise errors.Rejected("missing", "no signature", status=401)


class CrashesOnOddHeaders(Fake):
    def verify(self, request, credentials):
        request.headers.get("fake-signature", "").encode("ascii")
        super().verify(request, credentials)


class AnswersForbidden(Fake):
    def verify(self, request, credentials):
        try:
            super().verify(request, credentials)
        except errors.Rejected as error:
            raise errors.Rejected(error.code, error.detail, status=403) from None


class QuotesTheSecret(Fake):
    def verify(self, request, credentials):
        try:
            super().verify(request, credentials)
        except errors.Rejected:
            quoted = "".join(secret.reveal() for secret in credentials.secrets)
            raise errors.Rejected("wrong", f"not signed with {quoted}", status=401) from None


class ChoosesTheTenant(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        for message in reading.messages:
            message.tenant = account.tenant
        return reading


class ForgetsTheText(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        for message in reading.messages:
            message.text = ""
        return reading


class CollapsesEdits(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        for message in reading.messages:
            message.event_id = "evt-1"
        return reading


class InventsIds(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        for message in reading.messages:
            message.event_id = ids.new_id()
        return reading


class DropsSilently(Fake):
    def read(self, request, account):
        return dataclasses.replace(super().read(request, account), ignored=())


class ForgetsTheUnknown(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        return dataclasses.replace(
            reading, ignored=[one.kind for one in reading.unknown] or reading.ignored, unknown=()
        )


class CutsTheUnknown(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        return dataclasses.replace(reading, unknown=[dataclasses.replace(one, body=b"{}") for one in reading.unknown])


class KeepsEverything(Fake):
    def read(self, request, account):
        reading = super().read(request, account)
        kept = [ports.UnknownEvent(kind, kind, request.body) for kind in reading.ignored]
        return dataclasses.replace(reading, unknown=[*reading.unknown, *kept])


class CrashesOnBadBodies(Fake):
    def read(self, request, account):
        request.body.decode("utf-8")
        return super().read(request, account)


class ReadsHalf(Fake):
    def read(self, request, account):
        try:
            return super().read(request, account)
        except errors.Rejected:
            return ports.Reading()


class TakesAnyType(Fake):
    def read(self, request, account):
        headers = {**request.headers, "content-type": "application/json"}
        return super().read(dataclasses.replace(request, headers=headers), account)


class AcceptsAnyConfig(Fake):
    def check_config(self, config):
        pass


class NeverSends(Fake):
    async def send(self, account, credentials, command):
        return ports.Sent(fake_channel.message_id_of(command))


class SendsTwice(Fake):
    async def send(self, account, credentials, command):
        sent = await super().send(account, credentials, command)
        self.taken.append(command)
        return sent


class SendsUnsigned(Fake):
    async def send(self, account, credentials, command):
        return await super().send(account, ports.Credentials(fake_trial.SECRETS), command)


class MapsEverything(Fake):
    """Turns every failure into the same one."""

    failure = errors.Unavailable("failed", "it failed", after_s=1.0)

    async def send(self, account, credentials, command):
        try:
            return await super().send(account, credentials, command)
        except errors.PenstockError:
            raise self.failure from None


class GivesUpAlways(MapsEverything):
    failure = errors.Rejected("failed", "it failed")


class NeverKnows(MapsEverything):
    failure = ports.Ambiguous("failed", "it failed")


class QuotesWhatWasSaid(Fake):
    async def send(self, account, credentials, command):
        try:
            return await super().send(account, credentials, command)
        except errors.Rejected:
            raise errors.Rejected("refused", f"refused: {command.text}") from None


class Uncancellable(Fake):
    async def send(self, account, credentials, command):
        import asyncio

        task = asyncio.ensure_future(super().send(account, credentials, command))
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue
            except errors.PenstockError:
                break
        return task.result()


class ClosesOnce(Fake):
    async def close(self):
        if self.closed:
            raise errors.Broken("closed", "closed twice")
        await super().close()


@pytest.mark.parametrize(
    ("sabotaged", "promise"),
    [
        (LetsEverybodyIn, "refuses_wrong_secret"),
        (LetsEverybodyIn, "refuses_tampered_body"),
        (LetsEverybodyIn, "refuses_missing_headers"),
        (OpenWithoutSecrets, "refuses_without_secrets"),
        (NewestSecretOnly, "takes_both_live_secrets"),
        (IgnoresTheTime, "refuses_stale"),
        (IgnoresTheTime, "refuses_future"),
        (ForgivesNoSecond, "forgives_small_clock_skew"),
        (SignsTheHeadOnly, "refuses_tampered_body"),
        (CrashesOnOddHeaders, "refuses_missing_headers"),
        (AnswersForbidden, "refuses_wrong_secret"),
        (QuotesTheSecret, "refuses_in_words_without_secrets"),
        (ChoosesTheTenant, "reads_complete_messages"),
        (ChoosesTheTenant, "reads_nothing_by_account"),
        (ForgetsTheText, "reads_good_requests"),
        (ForgetsTheText, "reads_plain_messages"),
        (CollapsesEdits, "gives_each_event_its_own_id"),
        (InventsIds, "keeps_event_id_when_delivered_again"),
        (DropsSilently, "names_what_is_uninteresting"),
        (ForgetsTheUnknown, "keeps_what_it_does_not_know"),
        (CutsTheUnknown, "keeps_what_it_does_not_know"),
        (KeepsEverything, "names_what_is_uninteresting"),
        (CrashesOnBadBodies, "refuses_malformed_bodies"),
        (ReadsHalf, "refuses_every_truncation"),
        (TakesAnyType, "refuses_wrong_content_type"),
        (AcceptsAnyConfig, "refuses_bad_configs"),
        (NeverSends, "sends_once"),
        (SendsTwice, "sends_many_at_once"),
        (SendsUnsigned, "refuses_to_send_without_secrets"),
        (MapsEverything, "waits_as_told_when_throttled"),
        (MapsEverything, "gives_up_when_refused"),
        (MapsEverything, "admits_not_knowing_when_slow"),
        (MapsEverything, "admits_not_knowing_when_cut"),
        (GivesUpAlways, "tries_later_when_platform_fails"),
        (NeverKnows, "tries_later_when_platform_is_down"),
        (NeverKnows, "tries_later_when_platform_fails"),
        (QuotesWhatWasSaid, "gives_up_when_refused"),
        (SendsTwice, "resends_recognisably"),
        (Uncancellable, "lets_go_when_cancelled"),
        (ClosesOnce, "closes_twice"),
    ],
)
async def test_a_broken_promise_is_found_out_by_name(sabotaged, promise):
    with pytest.raises(AssertionError, match=rf"(?m)^{promise}: "):
        await conformance.check_channel(fake_trial.fake(sabotaged()))


async def test_kinds_of_message_that_are_not_shown_must_be_excused():
    described = fake_trial.fake(Fake())
    good = {name: good for name, good in described.requests.good.items() if name != "edit"}
    without = dataclasses.replace(described, requests=dataclasses.replace(described.requests, good=good))
    with pytest.raises(AssertionError, match="reads_edits"):
        await conformance.check_channel(without)
    excused = dataclasses.replace(without, excused={"reads_edits": "this platform has no edits"})
    await conformance.check_channel(excused)


@pytest.mark.parametrize("excused", [{"no_such_promise": "why"}, {"refuses_stale": " "}])
async def test_an_excuse_needs_a_promise_and_a_reason(excused):
    with pytest.raises(AssertionError, match="excused"):
        await conformance.check_channel(dataclasses.replace(fake_trial.fake(Fake()), excused=excused))


def test_every_promise_says_what_it_is():
    assert all(promise.__doc__ for promise in conformance.PROMISES.values())
    assert set(conformance.SENDING) < set(conformance.PROMISES)
