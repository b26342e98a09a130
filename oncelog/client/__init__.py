"""The client of an application: commands, bulk commands, checks and queries, over the connection to Temporal."""
