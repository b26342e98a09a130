"""The name of the shop's database."""

DB_NAME = "shop"
