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
    """A server with a URL that may carry user and password: they move to ``username`` and ``password``."""

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
        description="`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, or `AWS_MSK_IAM`, which needs "
        "`SASL_SSL`, AWS' own credentials and region, and the extra `oncelog[msk]`",
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
    ssl_ca_certs: str | None = Field(
        default=None, description="PEM file of the CA of its certificate; none: the system's CAs"
    )
    ssl_certfile: str | None = Field(default=None, description="PEM file of the client certificate")
    ssl_keyfile: str | None = Field(default=None, description="PEM file of its key")
    sentinels: Servers | None = Field(
        default=None,
        description="`host:port` of Sentinels, several with commas between them: they tell where the primary is, and "
        "the URL gives scheme, user and database only",
    )
    sentinel_service: str = Field(default="mymaster", description="the name by which Sentinels know the primary")
    sentinel_username: str | None = Field(default=None, description="the user of the Sentinels themselves")
    sentinel_password: SecretStr | None = Field(default=None, description="its password")
    cluster: bool = Field(default=False, description="`true`: the URL leads to a node of a Redis Cluster; experimental")

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.cluster and self.sentinels:
            raise ValueError("expected either ONCELOG_REDIS_CLUSTER or ONCELOG_REDIS_SENTINELS, found both")
        if (self.ssl_ca_certs or self.ssl_certfile) and not self.url.startswith("rediss:"):
            raise ValueError("ONCELOG_REDIS_SSL_… is set, and ONCELOG_REDIS_URL uses no TLS: expected rediss://")
        return self


class ElasticsearchSettings(_WithUrl):
    """Elasticsearch, in the Python client's names."""

    url: Annotated[str, AfterValidator(check_plain_address)] = Field(
        default="http://127.0.0.1:9200",
        description="`https://user:password@host:port`, percent-encoded; several with commas between them",
    )
    cloud_id: str | None = Field(default=None, description="a Cloud ID, in place of the URL")
    api_key: SecretStr | None = Field(default=None, description="an encoded API key, in place of user and password")
    ca_certs: str | None = Field(
        default=None, description="PEM file of the CA of its certificate; none: the system's CAs"
    )
    ssl_assert_fingerprint: str | None = Field(
        default=None, description="SHA-256 of its certificate in hex, which is then trusted without a CA"
    )
    client_cert: str | None = Field(default=None, description="PEM file of the client certificate")
    client_key: str | None = Field(default=None, description="PEM file of its key")
    replicas: str = Field(
        default="0-1",
        pattern=r"^[0-9]+(-([0-9]+|all))?$",
        description="copies of each shard of an index that is created; `0-1`: one as soon as there is a second node",
    )
    refresh_interval: str | None = Field(
        default=None,
        pattern=r"^[1-9][0-9]*(ms|s)$",
        description="how soon searches see a document, of an index that is created; readers with a "
        "token wait for it; none: Elasticsearch's own",
    )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.api_key and self.password:
            raise ValueError("expected either ONCELOG_ELASTICSEARCH_API_KEY or a user and a password, found both")
        return self


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
    addressing_style: Literal["auto", "path", "virtual"] | None = Field(
        default=None, description="`path`, `virtual` or `auto`; none: `path` for another S3, `auto` for AWS"
    )
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None,
        description="asked for with every object: `AES256`, `aws:kms` or `aws:kms:dsse`; none: the bucket's",
    )
    sse_kms_key_id: str | None = Field(default=None, description="the key of `aws:kms`; none: AWS' own")

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.sse_kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ValueError("ONCELOG_S3_SSE_KMS_KEY_ID needs ONCELOG_S3_SERVER_SIDE_ENCRYPTION aws:kms")
        return self

    @property
    def encryption(self) -> dict[str, str]:
        """The fields of a request that writes, as S3's API names them."""
        fields = {"ServerSideEncryption": self.server_side_encryption, "SSEKMSKeyId": self.sse_kms_key_id}
        return {name: value for name, value in fields.items() if value}


class TerminusdbSettings(_WithUrl):
    """TerminusDB, which holds the graph where it is given."""

    url: Annotated[str, AfterValidator(check_plain_address)] | None = Field(
        default=None,
        description="`https://user:password@host:port` of the TerminusDB (12 or newer) that holds the graph; none: it "
        "lies in Elasticsearch",
    )
    token: SecretStr | None = Field(default=None, description="a token (`Authorization: Token`), in place of a user")
    ca_certs: str | None = Field(
        default=None, description="PEM file of the CA of its certificate; none: the system's CAs"
    )
