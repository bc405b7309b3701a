"""Routing the orders: bicycles near, motorcycles far, nobody twice."""
