"""Grafana's dashboards as code: ``python -m monitoring.dashboards`` writes the JSON beside this file."""
