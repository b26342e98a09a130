"""Chaos: a load on an installation of its own while its servers, its workers and the links between them fail.

``python -m tests.chaos`` runs it; docs/chaos.md says what it does and how to read its report. Faults are in ``faults``
(each kind named once), their times are drawn by ``plan``, the clients' calls by ``load``; ``run`` puts them together
and lets ``oncelog.verification`` judge. Everything runs on servers that the run starts and ends itself.
"""
