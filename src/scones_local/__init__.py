"""A local AWS cloud on 127.0.0.1 for any boto3 project: `start` it, `stop` it, and nothing is left behind.

Read `cloud` (start and stop), then `supervisor` and `gateway` (the two processes), then one module a service: each
replaces the parts of ministack, the emulator underneath, that differ from AWS. README.md says what is emulated.
"""

from scones_local.cloud import Cloud, LocalCloudError, Programs, detach, exports, find, start, stop

__all__ = ["Cloud", "LocalCloudError", "Programs", "detach", "exports", "find", "start", "stop"]
