"""The access key of every local cloud that a test process starts, and how a test's proxy signs with it."""

from urllib.parse import parse_qs, urlsplit

from ministack.core import sigv4

from scones.aws.client import Credentials
from scones_local.access import new_access_key

KEY = new_access_key()
KEYS = Credentials(*KEY)
BOTO_KEYS = {"aws_access_key_id": KEY.key_id, "aws_secret_access_key": KEY.secret}


def sign_again(method: str, path: str, headers: dict[str, str], body: bytes, port: int) -> dict[str, str]:
    """The headers of a request that a proxy passes on to the cloud on *port*: its host, signed with the cloud's key."""
    given = {name.lower(): value for name, value in headers.items()} | {"host": f"127.0.0.1:{port}"}
    signature = sigv4.parse_header_signature(given)
    if isinstance(signature, tuple):
        return given
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    _, text = sigv4.header_signing_documents(signature, method, parts.path, query, given, body)
    scope = (signature.date_stamp, signature.region, signature.service)
    signed = sigv4.calculate_signature(KEY.secret, *scope, text)
    credential = "/".join((KEY.key_id, *scope, "aws4_request"))
    names = f"SignedHeaders={signature.signed_headers}"
    return given | {"authorization": f"AWS4-HMAC-SHA256 Credential={credential}, {names}, Signature={signed}"}
