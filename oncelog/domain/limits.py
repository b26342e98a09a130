"""Every limit on an object that is received or written: the one place of its number.

The unit is in the name (``_BYTES``, ``_CHARACTERS``, else a count); the comment names the object and the module
that checks it. ``docs/limits.md`` has the same table with the error codes and the reasons;
``tests/domain/test_limits.py`` holds the two equal. How much is done at once (connections, batches, caches)
is no limit of this kind and stays beside its code.
"""

# JSON, wherever it comes from.
INTEGER_MAX = 2**53 - 1  # a number without a fraction: ``canonical``
DEPTH_MAX = 32  # levels of arrays and objects within data, metadata, an item: ``canonical``
KEY_BYTES_MAX = 512  # a key of an object: ``canonical``
METADATA_BYTES_MAX = 64 * 1024  # canonical JSON of a command's metadata: ``commands``
INDEXED_BYTES_MAX = 4 * 1024 * 1024  # keys above values, counted for each value; of a bulk request, too: ``canonical``
LEAF_BYTES = 64  # each value itself, counted in the same sum: ``canonical``
VALUES_MAX = 128 * 1024  # leaves, objects and arrays of data and of an item: ``canonical``
STORED_BYTES_MAX = 16 * 1024 * 1024  # an object of ours that is read back as JSON: ``canonical``
STORED_DEPTH_MAX = DEPTH_MAX + 16  # levels of such an object, which wraps accepted input: ``canonical``
TEXT_BYTES_MAX = 1024 * 1024  # canonical JSON of data (after a patch, too), metadata, inline items: ``canonical``

# Names and short texts.
COMMAND_ID_CHARACTERS_MAX = 128  # ``identifiers``
NAME_CHARACTERS_MAX = 63  # db_name, class_id: ``identifiers``
INSTANCE_ID_BYTES_MAX = 200  # in UTF-8: ``identifiers``
INSTANCE_KEY_CHARACTERS_MAX = 240  # an instance ID once percent-encoded: ``identifiers``
SHORT_TEXT_CHARACTERS_MAX = 256  # actor, correlation_id, causation_id: ``commands``

# Bulk commands.
ITEMS_MAX = 1_000_000  # items of a bulk command: ``bulk.command`` and ``bulk.plan``
ITEMS_BYTES_MAX = 8 * 1024**3  # NDJSON of a bulk command: ``bulk.plan``
LINE_BYTES_MAX = 2 * TEXT_BYTES_MAX  # one line of that NDJSON: ``bulk.plan``
CHUNK_ITEMS_MAX = 500  # items of a chunk, unless ONCELOG_BULK_CHUNK_ITEMS_MAX says otherwise: ``bulk.plan``
CHUNKS_MAX = 10_000  # chunks of a plan by their items; larger ones above: ``bulk.plan``
CHUNK_BYTES_MAX = 4 * 1024 * 1024  # the lines of a chunk that has more than one item: ``bulk.plan``
ITEMS_INLINE_BYTES_MAX = 64 * 1024  # items that the client sends within the command, not by reference: ``bulks``

# Refusals.
FINDINGS_MAX = 50  # listed in a rejection, which says how many more there are: ``ontology.schemas``, ``instance``
MISSING_REFERENCES_MAX = 10  # targets listed in a rejection, which says how many are missing: ``references``
FINDING_STEPS_MAX = 20_000  # parts of a schema that are tried to explain a refusal: ``ontology.explanation``
FINDING_JUDGEMENTS_MAX = 8_000_000  # as of ``JUDGEMENTS_MAX``, while that is tried: ``ontology.explanation``
POINTER_CHARACTERS_MAX = 300  # where a finding is: ``ontology.schemas``
PROBLEM_CHARACTERS_MAX = 300  # one finding's text: ``ontology.schemas``
ITEM_MESSAGE_CHARACTERS_MAX = 500  # the message of an item's rejection: ``bulk.items``
ITEM_DETAILS_BYTES_MAX = 1_000  # the details of an item's rejection: ``bulk.items``
REASON_CHARACTERS_MAX = 4_000  # why an aggregate is parked: ``dead_letters``

# Classes and the graph.
DEFINITION_BYTES_MAX = 256 * 1024  # a class definition, canonical: ``ontology.definition``
MIGRATION_STEPS_MAX = 1_000  # steps from one version of a class to the next: ``ontology.definition``
SCHEMA_PARTS_MAX = 20_000  # schemas within a class's schema: ``ontology.schema_parts``
SCHEMA_REFERENCES_DEPTH_MAX = 64  # references and combinations in a row at one place: ``ontology.budget``
APPLICATIONS_MAX = 5_000  # of parts of a schema to one value at one place: ``ontology.budget``
JUDGEMENTS_MAX = 2_000_000  # of parts of a schema to values, for one instance: ``ontology.budget``
ALTERNATIVES_MAX = 64  # combinations of alternatives that two schemas are compared by: ``ontology.schemas``
COMPARED_VALUES_MAX = 256  # JSON values of two schemas that are compared in one step: ``ontology.schemas``
COMPARING_STEPS_MAX = 100_000_000  # those to the third power, for two definitions: ``ontology.schemas``
UNFOLDED_PARTS_MAX = 4_000  # references times parts of a schema that is compared as one: ``ontology.schemas``
PATTERN_BYTES_MAX = 256 * 1024  # one pattern, compiled: ``ontology.patterns``
PATTERNS_BYTES_MAX = 4 * 1024 * 1024  # all patterns of a schema, compiled: ``ontology.patterns``
MATCHING_STEPS_MAX = 2_000_000  # characters times KiB of the patterns they are held to: ``ontology.patterns``
UNIQUE_CONSTRAINTS_MAX = 10  # unique constraints of a class: ``ontology.definition``
UNIQUE_PATHS_MAX = 5  # parts of a unique value: ``unique.constraint``
UNIQUE_VALUE_BYTES_MAX = 1024  # a unique value, canonical: ``unique.constraint``
UNIQUE_PLACES_MAX = 999_999  # times that one unique value is taken, for ever: ``write.unique.claims``
EDGES_MAX = 10_000  # references of one node: ``graph``

# Reading.
RESULTS_MAX = 1_000  # results of one search: ``queries``
WORDS_CHARACTERS_MAX = 1_000  # words of one search: ``queries``
SORT_KEYS_MAX = 4  # pointers that one search sorts by: ``sorting``
SORTED_PATHS_MAX = 1_000  # paths of one instance that a search can sort by; further ones sort as absent: ``sorting``
SORTED_TEXT_CHARACTERS_MAX = 100  # the beginning of a text that a search sorts by: ``sorting``
TOKEN_CHARACTERS_MAX = 64 * 1024  # a consistency token: ``tokens``

# Where things lie.
MESSAGE_BYTES_MAX = 3 * 1024 * 1024  # a Kafka message: ``stores.kafka``
CACHED_STATE_BYTES_MAX = 64 * 1024  # a state that Redis keeps beside its head: ``stores.redis``
