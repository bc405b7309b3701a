"""AWS: the only boto3 of the control plane, as thin wrappers with one service a file.

Read `client` first (errors, retries, waits), then `connection`, which opens all services of an environment. Every
method raises AwsError if AWS rejects its call.
"""
