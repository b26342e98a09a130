"""Mutation runs: the code is changed on purpose, and a test must fail (`make mutate`)."""
