"""SNS: publish a notice to a topic."""

from scones.aws.client import Client

_SUBJECT_LIMIT = 100


class Notices:
    """Where alerts go out."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, topic: str, subject: str, message: str) -> str:
        """Publish and return the message's id; SNS takes at most 100 characters of subject."""
        reply = self._client.call("publish", TopicArn=topic, Subject=subject[:_SUBJECT_LIMIT], Message=message)
        message_id: str = reply["MessageId"]
        return message_id
