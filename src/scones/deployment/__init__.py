"""Deployment: creating, changing and deleting an environment.

Read `template` first (the stack), then `image_source`, `preflight`, `lock` and `releases`; `inventory` lists what an
environment has, `cleanup` finds and deletes what is outside its stack, and `pricing` says what it costs.
"""
