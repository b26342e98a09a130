"""A web service that submits commands and reads its own writes."""
