"""Read models in an Elasticsearch index of the application's own: one document per aggregate.

``ElasticsearchReadModel`` is a function from an aggregate's document to another one. It has the aggregate's sequence
number as its external version, so that repeated and late writes change nothing.
"""

from oncelog.elasticsearch.models import ElasticsearchPositions
from oncelog.elasticsearch.read_model import ElasticsearchReadModel

__all__ = ["ElasticsearchPositions", "ElasticsearchReadModel"]
