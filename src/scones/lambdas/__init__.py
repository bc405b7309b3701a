"""The workflow's Lambda functions, one a file; they carry no model code."""
