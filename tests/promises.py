"""Invariants of the stored data, whatever happened: the checks of ``oncelog verify``, as assertions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from oncelog.domain.events import Event, read_event
from oncelog.ports import Document, FoundNode
from oncelog.stores.kafka.messages import Message
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding

Logs = dict[str, list[Event]]


def logs_of(objects: Mapping[str, bytes]) -> Logs:
    """Return every aggregate's events, in order of their keys; the objects may be of any kind."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for key in sorted(key for key in objects if key.startswith("events/")):
        event = read_event(objects[key], where=key)
        found[event.aggregate_id].append(event)
    return dict(found)


def audit_of(
    objects: Mapping[str, bytes],
    messages: Iterable[Message],
    documents: Iterable[Document],
    nodes: Iterable[FoundNode] = (),
) -> Audit:
    """Go through what was read; the objects may be of any kind, those of events, commands and entries are looked at."""
    audit = Audit()
    events = sorted(key for key in objects if key.startswith("events/"))
    commands = sorted(key for key in objects if key.startswith("commands/"))
    entries = sorted(key for key in objects if key.startswith("unique/"))
    for key in (*sorted(events, key=lambda key: "/_class/" not in key), *commands, *entries):
        audit.add_object(key, objects[key])
    for message in messages:
        audit.add_message(message)
    for document in documents:
        audit.add_document(document)
    for node in nodes:
        audit.add_node(node)
    return audit


def hold(*findings: Iterable[Finding], published: bool = True) -> None:
    """Hold that nothing was found. ``published`` False: events not on the stream yet are no findings."""
    found = [finding for some in findings for finding in some]
    wrong = [finding for finding in found if published or finding.code is not Code.MESSAGE_MISSING]
    assert not wrong, wrong
