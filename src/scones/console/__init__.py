"""The web console: every page asks the pipeline one question, and every button calls one of its steps.

Read app.py first, for the routes; then security.py, which every request passes. The pages are in pages.py, what they
do in actions.py, and long work in jobs.py; drawings.py makes the charts, the graph and the map as SVG.
"""
