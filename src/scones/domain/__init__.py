"""The domain: what every other package may import; the standard library alone.

Read `decision` first: it has the outcomes of a photo. `keys` has the names of all objects in the bucket, `errors` the
hierarchy of errors, `limits` the sizes that the workflow allows; `tags`, `timestamps`, `statistics` and `progress` are
small helpers of their noun.
"""
