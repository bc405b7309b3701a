"""The only boto3 of the control plane: one thin wrapper a service."""
