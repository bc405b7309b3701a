"""Drift: have photos or predictions changed since training? Numbers only; needs numpy.

Read `features` (a few numbers per photo), `normal_scores` (one scale for all of them) and `baseline` (what they were on
the training photos). `window_test` tests some hundred photos at once; `stream_statistics` and `stream_detector` follow
the traffic photo by photo. `traffic` makes recorded days a baseline.
"""
