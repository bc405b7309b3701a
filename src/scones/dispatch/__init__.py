"""Routing the orders: short trips to bicycles, long ones to motorcycles, no courier twice."""
