"""The workflow's Lambda functions, one per file, without model code.

In the order of the workflow: `serialize`, `classify`, `filter`, `dispatch`; `classify_batch` is the function of batch
runs, `reap` deletes expired endpoints. `services` has their calls to S3 and the endpoint.
"""
