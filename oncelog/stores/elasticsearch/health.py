"""The health of the cluster, and of our indices in it."""

from http import HTTPStatus
from typing import NamedTuple

from elasticsearch import ApiError, TransportError

from oncelog.stores.elasticsearch.server import REQUEST_TIMEOUT_S, ElasticsearchServer

HEALTH_TIMEOUT_S = 5.0


class ClusterHealth(NamedTuple):
    """``status`` of the cluster: green, yellow or red; ``red``: our indices that are; ``version``: of its nodes."""

    status: str
    red: tuple[str, ...]
    nodes: int
    version: str


async def cluster_health(server: ElasticsearchServer) -> ClusterHealth:
    """Return how the cluster is and which of our indices have a shard on no node; raises StoreUnavailable.

    Waits up to ``HEALTH_TIMEOUT_S``: for its first moment each new index makes the cluster red.
    """
    server.requests["health"] += 1
    try:
        patient = server.client.options(
            request_timeout=HEALTH_TIMEOUT_S + REQUEST_TIMEOUT_S,
            ignore_status=HTTPStatus.REQUEST_TIMEOUT,  # the answer then, with all that is asked for here
        )
        ours = await patient.cluster.health(
            index=server.index_patterns, level="indices", wait_for_status="yellow", timeout=f"{HEALTH_TIMEOUT_S:g}s"
        )
        health = await server.client.cluster.health()
        nodes = await server.client.nodes.info(filter_path=["nodes.*.version"])
    except (ApiError, TransportError) as error:
        raise server.unavailable("looking at the cluster", error) from error
    versions = sorted({str(node["version"]) for node in nodes.get("nodes", {}).values()})
    red = tuple(sorted(name for name, index in ours.get("indices", {}).items() if index["status"] == "red"))
    return ClusterHealth(str(health["status"]), red, int(health["number_of_nodes"]), ", ".join(versions) or "untold")
