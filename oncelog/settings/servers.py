"""One model for the connection to each server, with the names that users of its ecosystem know.

A field ``NAME`` of ``KafkaSettings`` is the variable ``ONCELOG_KAFKA_NAME``, and so on. ``docs/settings.md`` is made
from the descriptions here.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from oncelog.domain.stored_names import CLASS_TOPIC, FAILURE_TOPIC, INSTANCE_TOPIC
from oncelog.settings.addresses import (
    Servers,
    check_address,
    check_anonymous_address,
    check_plain_address,
    split_credentials,
)


class ServerSettings(BaseModel):
    """Base of the models of servers: frozen, closed, and silent about refused input."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _WithUrl(ServerSettings):
    """A server whose URL may carry user and password: they move to ``username`` and ``password``."""

    username: str | None = Field(default=None, description="the user, unless it stands in the URL")
    password: SecretStr | None = Field(default=None, description="its password, unless it stands in the URL")

    @model_validator(mode="before")
    @classmethod
    def _split_url(cls, given: Any) -> Any:
        url = given.get("url") if isinstance(given, dict) else None
        if not isinstance(url, str) or "@" not in url:
            return given
        try:
            check_address(url)
        except ValueError:
            return given  # the field's own check says so, and names the variable
        clean, user, password = split_credentials(url)
        carried = {name: value for name, value in (("username", user), ("password", password)) if value}
        return {**given, **carried, "url": clean}


class KafkaSettings(ServerSettings):
    """Kafka, in librdkafka's names."""

    bootstrap_servers: Servers = Field(
        default="127.0.0.1:9092", description="`host:port`, several with commas between them"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] = Field(
        default="PLAIN",
        description="`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, or `AWS_MSK_IAM` with AWS' own "
        "credentials and the extra `oncelog[msk]`",
    )
    sasl_username: str | None = Field(default=None, description="the user of `PLAIN` and `SCRAM`")
    sasl_password: SecretStr | None = Field(default=None, description="its password")
    sasl_oauthbearer_token_endpoint_url: Annotated[str, AfterValidator(check_anonymous_address)] | None = Field(
        default=None, description="where tokens are had by client credentials (OAuth 2.0)"
    )
    sasl_oauthbearer_client_id: str | None = Field(default=None, description="the client that asks for tokens")
    sasl_oauthbearer_client_secret: SecretStr | None = Field(default=None, description="its secret")
    sasl_oauthbearer_scope: str | None = Field(default=None, description="the scope that it asks for")
    ssl_ca_location: str | None = Field(
        default=None, description="PEM file of the CA of the brokers' certificates; none: the system's CAs"
    )
    ssl_certificate_location: str | None = Field(default=None, description="PEM file of the client certificate")
    ssl_key_location: str | None = Field(default=None, description="PEM file of its key, unless it is in the same file")
    ssl_key_password: SecretStr | None = Field(default=None, description="the key's password")
    client_id: str = Field(default="oncelog", min_length=1, description="the name in brokers' logs, metrics and quotas")
    instance_topic: str | None = Field(
        default=None, description=f"the topic of instances' events; none: `{INSTANCE_TOPIC}` below the namespace"
    )
    class_topic: str | None = Field(
        default=None, description=f"the topic of classes' events; none: `{CLASS_TOPIC}` below the namespace"
    )
    failure_topic: str | None = Field(
        default=None, description=f"the topic of failures; none: `{FAILURE_TOPIC}` below the namespace"
    )
    partitions: int = Field(default=6, ge=1, le=10_000, description="partitions of a topic that is created")
    replication_factor: int | None = Field(
        default=None, ge=1, le=32_767, description="replicas of a topic that is created; none: 3, or one per broker"
    )

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        needed: dict[str, object] = {}
        if self.uses_sasl and self.sasl_mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            needed = {"SASL_USERNAME": self.sasl_username, "SASL_PASSWORD": self.sasl_password}
        elif self.uses_sasl and self.sasl_mechanism == "OAUTHBEARER":
            needed = {
                "SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": self.sasl_oauthbearer_token_endpoint_url,
                "SASL_OAUTHBEARER_CLIENT_ID": self.sasl_oauthbearer_client_id,
                "SASL_OAUTHBEARER_CLIENT_SECRET": self.sasl_oauthbearer_client_secret,
            }
        if missing := [f"ONCELOG_KAFKA_{name}" for name, value in needed.items() if value is None]:
            raise ValueError(f"SASL mechanism {self.sasl_mechanism} needs {', '.join(missing)}")
        if self.sasl_username and not self.uses_sasl:
            raise ValueError(
                "ONCELOG_KAFKA_SASL_USERNAME is set, and ONCELOG_KAFKA_SECURITY_PROTOCOL uses no SASL: expected "
                "SASL_SSL or SASL_PLAINTEXT"
            )
        if (self.ssl_ca_location or self.ssl_certificate_location) and not self.uses_tls:
            raise ValueError(
                "ONCELOG_KAFKA_SSL_… is set, and ONCELOG_KAFKA_SECURITY_PROTOCOL uses no TLS: expected SSL or SASL_SSL"
            )
        return self


class RedisSettings(_WithUrl):
    """Redis, in redis-py's names."""

    url: Annotated[str, AfterValidator(check_address)] = Field(
        default="redis://127.0.0.1:6379/0",
        repr=False,  # options of its query may be anything
        description="`redis://user:password@host:port/0`, percent-encoded; `rediss://` is TLS",
    )
    memory_s: int = Field(
        default=7 * 24 * 3600,
        ge=60,
        description="seconds for which statuses and heads are remembered; S3 remembers for ever",
    )


class ElasticsearchSettings(_WithUrl):
    """Elasticsearch, in the Python client's names."""

    url: Annotated[str, AfterValidator(check_plain_address)] = Field(
        default="http://127.0.0.1:9200",
        description="`https://user:password@host:port`, percent-encoded; several with commas between them",
    )


class S3Settings(ServerSettings):
    """S3, beside AWS' own variables."""

    endpoint_url: Annotated[str, AfterValidator(check_anonymous_address)] | None = Field(
        default=None,
        description="another S3 than AWS; it must honour `If-None-Match: *`, which a worker probes at its start",
    )
    bucket: str = Field(default="oncelog", description="made with Object Lock and versioning where that is offered")
    connections_max: int = Field(
        default=32,
        ge=1,
        le=512,
        description="requests to S3 at a time: for objects, and as many threads for all else",
    )


class TerminusdbSettings(_WithUrl):
    """TerminusDB, which holds the graph where it is given."""

    url: Annotated[str, AfterValidator(check_plain_address)] | None = Field(
        default=None,
        description="`https://user:password@host:port` of the TerminusDB (12 or newer) that holds the graph; none: it "
        "lies in Elasticsearch",
    )
