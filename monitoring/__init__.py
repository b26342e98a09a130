"""The watching of an installation: alerts, dashboards, and the configuration of what shows them."""
