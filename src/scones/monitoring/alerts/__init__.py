"""Alerts: what changed, why, how bad it is and what to do, for a person.

Read `descriptions` (features in words), `cause` (rules), `alert` (all of it as one value) and `notices` (as text, and
which alarms are active).
"""
