"""Kafka's refusals, told apart: try again, never this message, or not this topic now. docs/refusals.md."""

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import ContainerUnusable, ObjectRefused, OncelogError, StoreUnavailable, UnusableReason
from oncelog.stores.kafka.connection import BrokerRefusalError

#: Of a message beside its key, value and headers.
_FRAME_BYTES_MAX = 1_024

_TOPIC: dict[type[Exception], tuple[UnusableReason, str]] = {
    MessageSizeTooLargeError: (UnusableReason.MISCONFIGURED, f"set its max.message.bytes to {MESSAGE_BYTES_MAX}"),
    RecordListTooLargeError: (UnusableReason.MISCONFIGURED, f"set its segment.bytes above {MESSAGE_BYTES_MAX}"),
    TopicAuthorizationFailedError: (
        UnusableReason.FORBIDDEN,
        "grant this user READ, WRITE and DESCRIBE on it, and CREATE unless it exists",
    ),
    InvalidTopicError: (UnusableReason.MISCONFIGURED, "mend ONCELOG_NAMESPACE, which its name begins with"),
    InvalidConfigurationError: (UnusableReason.CREATION_REFUSED, "create it by hand"),
    InvalidPartitionsError: (UnusableReason.CREATION_REFUSED, "create it by hand"),
    InvalidReplicationFactorError: (
        UnusableReason.CREATION_REFUSED,
        "start more brokers, or lower ONCELOG_KAFKA_REPLICATION_FACTOR",
    ),
    PolicyViolationError: (UnusableReason.CREATION_REFUSED, "create it by hand as the policy asks for"),
}


def refused(
    error: Exception, *, servers: str, doing: str, topic: str = "", group: str = "", message_bytes: int = 0
) -> OncelogError:
    """Return our error for a driver's exception: StoreUnavailable, ContainerUnusable or ObjectRefused.

    ``topic``, ``group``: the requested one; ``message_bytes``: the size of the message sent, if any. No event
    reaches our own limit, so a smaller one that is too large tells of the topic.
    """
    store, cause = f"Kafka at {servers}", str(error) or type(error).__name__
    if isinstance(error, MessageSizeTooLargeError) and message_bytes > MESSAGE_BYTES_MAX - _FRAME_BYTES_MAX:
        return ObjectRefused(store, f"a message of {message_bytes} bytes ({doing})", cause)
    container, found = "", None
    if isinstance(error, BrokerRefusalError):
        container, found = "cluster", (error.reason, error.remedy)
    elif isinstance(error, GroupAuthorizationFailedError):
        container, found = f"group {group}", (UnusableReason.FORBIDDEN, "grant this user READ on it")
    elif isinstance(error, ClusterAuthorizationFailedError):
        remedy = "grant this user IDEMPOTENT_WRITE and CREATE on it, or create the topics by hand"
        container, found = "cluster", (UnusableReason.FORBIDDEN, remedy)
    elif topic:
        container, found = f"topic {topic}", _TOPIC.get(type(error))
    if found is None:
        return StoreUnavailable(store, doing, cause)
    reason, remedy = found
    return ContainerUnusable(
        store, container, reason, cause=cause, remedy=remedy, doing=doing, shared=container == "cluster"
    )
