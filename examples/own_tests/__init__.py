"""Code of an application, and its tests with time skipping."""
