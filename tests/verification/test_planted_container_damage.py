"""A damaged index or alias is found as that, and not as the loss of every document behind it."""

import pytest

from oncelog.checks.verify import Verdict, nothing_in_flight, verify
from oncelog.errors import UnusableReason
from oncelog.ports import IndexFacts
from oncelog.stores.s3 import StoredObject
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Severity
from tests.verification.container_damage import PLANTED, PRODUCTS, healthy
from tests.verification.damage import LAMP, VERSIONS, Damage, drop_message, make_stale, nested, planted


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_container_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    report = await verify(world.sources, in_flight=nothing_in_flight)
    found = {finding.code: finding for finding in report.findings}
    assert report.verdict is Verdict.VIOLATED
    assert found[damage.code].where == f"alias instances.{PRODUCTS}"
    assert not {Code.DOCUMENT_MISSING, Code.DOCUMENT_FOREIGN, Code.DOCUMENT_WRONG} & set(found)
    assert (Code.DOCUMENT_STALE in found) == (damage.code is Code.INDEX_BLOCKED)  # that one can be read


async def test_other_damage_is_found_beside_a_closed_index():
    world = await healthy()
    world.documents.unusable[PRODUCTS] = UnusableReason.CLOSED
    drop_message(world, LAMP, VERSIONS)
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert {finding.code for finding in report.findings} == {Code.INDEX_CLOSED, Code.MESSAGE_MISSING}


def test_a_block_of_a_moment_is_no_finding():
    old = IndexFacts("instances.shop.product.000001", "instances.shop.product", is_behind=True)
    audit = ContainerAudit()
    audit.add([IndexFacts(old.name, old.alias, is_behind=True, takes_writes=False)])
    audit.add(
        [
            IndexFacts(old.name, old.alias, is_behind=False),
            IndexFacts("instances.shop.product.d000001", old.alias, is_behind=True),
        ]
    )
    assert list(audit.judge()) == []
    assert not audit.unreadable


def test_a_kept_index_without_alias_is_no_finding():
    alias = "instances.shop.product"
    audit = ContainerAudit()
    for _ in range(2):
        kept = IndexFacts(f"{alias}.000001", alias, is_behind=False, takes_writes=False)
        audit.add([kept, IndexFacts(f"{alias}.d000001", alias, is_behind=True)])
    assert list(audit.judge()) == []


async def test_an_unreadable_dead_letter_excuses_nothing():
    world = await healthy()
    make_stale(world)
    key = f"dead-letters/documents/{LAMP}/000001.json"
    world.bucket.objects[key] = StoredObject(nested(1_000))
    report = await verify(world.sources, in_flight=nothing_in_flight)
    (finding,) = report.findings
    assert (finding.code, finding.severity) == (Code.DOCUMENT_STALE, Severity.VIOLATION)
    assert key in finding.found
