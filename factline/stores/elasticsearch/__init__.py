"""Elasticsearch, where read models lie: documents by class, and the graph.

``server`` holds what every store on it shares: its client, versioned writes in bulk, indices behind aliases.
"""

from factline.stores.elasticsearch.documents import ElasticsearchDocuments
from factline.stores.elasticsearch.graph import ElasticsearchGraph
from factline.stores.elasticsearch.scan import ElasticsearchScan
from factline.stores.elasticsearch.searches import ElasticsearchSearches
from factline.stores.elasticsearch.server import ElasticsearchServer

__all__ = [
    "ElasticsearchDocuments",
    "ElasticsearchGraph",
    "ElasticsearchScan",
    "ElasticsearchSearches",
    "ElasticsearchServer",
]
