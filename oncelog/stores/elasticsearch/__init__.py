"""Elasticsearch, where read models lie: documents by class, and the graph.

``server`` holds the parts that every store shares: the client, versioned writes in bulk, indices behind aliases.
"""

from oncelog.stores.elasticsearch.documents import ElasticsearchDocuments
from oncelog.stores.elasticsearch.graph import ElasticsearchGraph
from oncelog.stores.elasticsearch.scan import ElasticsearchScan
from oncelog.stores.elasticsearch.searches import ElasticsearchSearches
from oncelog.stores.elasticsearch.server import ElasticsearchServer

__all__ = [
    "ElasticsearchDocuments",
    "ElasticsearchGraph",
    "ElasticsearchScan",
    "ElasticsearchSearches",
    "ElasticsearchServer",
]
