"""SNS: publish messages to a topic."""

from collections.abc import Mapping

from scones.aws.client import Client

_SUBJECT_LIMIT = 100


class Notices:
    """Publishes alerts."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, topic: str, subject: str, message: str, attributes: Mapping[str, str] | None = None) -> str:
        """Publish and return the message's id; SNS takes at most 100 characters of subject.

        Queues, functions and URLs receive *attributes* too, and can filter by them; mail does not show them.
        """
        named = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
        reply = self._client.call(
            "publish", TopicArn=topic, Subject=subject[:_SUBJECT_LIMIT], Message=message, MessageAttributes=named
        )
        message_id: str = reply["MessageId"]
        return message_id
