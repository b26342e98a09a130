"""The fast tests on each supported Python that the machine has: ``make test-pythons``."""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the fast tests on the locked versions."""
    session.install("--require-hashes", "--requirement", "requirements.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("pytest", "-q", "-m", "not integration and not deep", "-p", "no:cacheprovider", *session.posargs)
