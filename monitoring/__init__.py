"""Alerts, dashboards, and the configuration of the programs that show them."""
