"""The composition root: the one place that wires ports to services, for worker, projector, client and tests."""
