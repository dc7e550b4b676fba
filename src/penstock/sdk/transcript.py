"""What an app did in a conversation, as people see it on a platform: for tests of apps. Pure.

Like outbound, it does no command twice, and finds the message that an edit is about by the command that said it.
"""

from penstock.messages.v1 import outbound_pb2


class Transcript:
    """The commands of an app, each once, in order, and what they add up to."""

    def __init__(self) -> None:
        self.commands: list[outbound_pb2.SendCommand] = []
        self.repeated = 0
        self._seen: set[str] = set()
        self._texts: dict[str, str] = {}

    def add(self, command: outbound_pb2.SendCommand) -> None:
        """Do what the command says, unless that was done before."""
        if command.command_id in self._seen:
            self.repeated += 1
            return
        self._seen.add(command.command_id)
        self.commands.append(command)
        about = command.relation.WhichOneof("kind")
        if about in {None, "reply"}:
            self._texts[command.command_id] = command.text
        elif about == "edit" and command.target_command_id in self._texts:
            self._texts[command.target_command_id] = command.text
        elif about == "deletion":
            self._texts.pop(command.target_command_id, None)

    @property
    def texts(self) -> list[str]:
        """What the app's messages say now, in the order sent; those taken back are gone."""
        return list(self._texts.values())

    @property
    def said(self) -> list[str]:
        """What the app said, each as it was first said."""
        return [c.text for c in self.commands if c.relation.WhichOneof("kind") in {None, "reply"}]

    @property
    def reactions(self) -> list[tuple[str, str]]:
        """Message and emoji of every reaction the app put."""
        put = [c.relation.reaction for c in self.commands if c.relation.WhichOneof("kind") == "reaction"]
        return [(reaction.message_id, reaction.name) for reaction in put]
