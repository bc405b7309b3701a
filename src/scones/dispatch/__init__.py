"""Dispatch: which courier gets which order, by the vehicle that their photo shows.

`orders` has the rules, and the choice for a single courier, which the Dispatch function uses with `order_book`, the
tables. `assignment` plans for all couriers. `simulation` plays days of a city, from
which `business_value` compares classifiers.
"""
