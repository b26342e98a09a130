"""References that must exist on real servers: refused, accepted, and listed when their target is deleted."""

import pytest

from oncelog.domain.results import Outcome, RejectionCode
from oncelog.verification.findings import Code, Severity
from tests.commands import create
from tests.integration.installation import Installation
from tests.integration.test_unique import codes
from tests.required_references import define_products, delete_maker, maker

pytestmark = pytest.mark.integration


async def test_target_must_exist_when_the_command_decides(installation: Installation):
    submit = installation.client.submit
    async with installation.worker():
        await submit(define_products())
        early = create("p1", {"maker": "m1"})
        refused = await submit(early)
        assert codes([refused]) == {RejectionCode.REFERENCE_NOT_FOUND: 1}
        assert codes([await submit(maker("m1"))]) == {Outcome.APPLIED: 1}
        assert await installation.empty_redis() > 0
        assert codes([await submit(create("p2", {"maker": "m1"}))]) == {Outcome.APPLIED: 1}
        assert codes([await submit(delete_maker("m1"))]) == {Outcome.APPLIED: 1}
        late = await submit(create("p3", {"maker": "m1"}))
        assert codes([late]) == {RejectionCode.REFERENCE_NOT_FOUND: 1}
        assert await submit(early) == refused
        code, (report,) = await installation.oncelog("check", "--repair", "--grace-s", "0")
    assert code == 0, report
    found = [each for section in report["invariants"]["sections"] for each in section["findings"]]
    assert [(each["code"], each["severity"], each["where"]) for each in found] == [
        (Code.REFERENCE_DANGLING, Severity.PENDING, "aggregate shop/Product/p2")
    ]
    code, (verified,) = await installation.oncelog("verify")
    assert (code, [each["code"] for each in verified["findings"]]) == (0, [Code.REFERENCE_DANGLING])
