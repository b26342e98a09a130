"""Redis: leases, stream heads, command statuses. Nothing here that S3 cannot restore."""
