"""The local cloud: an AWS-compatible endpoint on 127.0.0.1, with nothing left behind when it ends."""
