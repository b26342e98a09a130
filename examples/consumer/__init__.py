"""A Kafka consumer that follows the contract of the stream."""
