"""Test doubles for applications: the in-memory twin of each server."""
