"""Every time-out and retry policy, named. Units are in the values (timedelta)."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy

#: One quick attempt at the whole commit. Waiting for a busy aggregate's lease counts too.
QUICK_COMMIT_TIMEOUT = timedelta(seconds=5)
#: One quick attempt at delivery; each of its steps has a shorter one of its own (``QUICK_ATTEMPT_S``).
QUICK_DELIVERY_TIMEOUT = timedelta(seconds=6)
#: A step that does not succeed quickly is not repeated in place but handed over, where people can see it.
ONCE = RetryPolicy(maximum_attempts=1)

#: One attempt of a handed-over step.
STEP_TIMEOUT = timedelta(seconds=20)
#: One attempt at bringing a class's documents into another index; it sends a heartbeat after every page.
REINDEX_TIMEOUT = timedelta(hours=12)
REINDEX_HEARTBEAT_TIMEOUT = timedelta(seconds=60)

#: For as long as the outage lasts: nothing that was accepted is given up. After a short outage the wait is at most as
#: long as the outage was; after a long one at most the maximum here (``temporal activity reset`` tries at once).
UNTIL_DONE = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=2),
    maximum_attempts=0,
)

#: Reconciliation returns after some pages; one page of a slow server may take a while.
RECONCILE_TIMEOUT = timedelta(minutes=10)
#: To list all that there is; a repeated attempt goes on where the one before it was.
COUNT_TIMEOUT = timedelta(hours=12)
RECONCILE_HEARTBEAT_TIMEOUT = timedelta(seconds=30)

#: A partition of a replay tells every few seconds how far it is; after its worker's death it is soon folded elsewhere.
REPLAY_HEARTBEAT_TIMEOUT = timedelta(seconds=10)

#: A bulk command's run of chunks hands back after some seconds; to open the largest takes minutes.
BULK_TIMEOUT = timedelta(minutes=30)
BULK_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
#: So many runs of chunks until the workflow goes on in a new run, with a history of its own.
BULK_SEGMENTS_PER_RUN = 100


class LongActivity(TypedDict):
    """The options of an activity that goes through much of the log and tells regularly that it is alive."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


#: For as long as the outage lasts, too; a wrong or overtaken request ends the workflow.
UNTIL_DONE_OR_REFUSED = RetryPolicy(
    initial_interval=UNTIL_DONE.initial_interval,
    backoff_coefficient=UNTIL_DONE.backoff_coefficient,
    maximum_interval=UNTIL_DONE.maximum_interval,
    maximum_attempts=0,
    non_retryable_error_types=["InputInvalid", "RebuildSuperseded"],
)

#: A step that lists, packs or joins all of a class or of the log.
LISTING = LongActivity(
    start_to_close_timeout=COUNT_TIMEOUT,
    heartbeat_timeout=RECONCILE_HEARTBEAT_TIMEOUT,
    retry_policy=UNTIL_DONE_OR_REFUSED,
)
PARTITION = LongActivity(
    start_to_close_timeout=REINDEX_TIMEOUT,
    heartbeat_timeout=REPLAY_HEARTBEAT_TIMEOUT,
    retry_policy=UNTIL_DONE_OR_REFUSED,
)
