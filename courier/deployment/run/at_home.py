"""The policy of a computer where the site's home is at hand: it is made there, and kept while its run lasts."""

from __future__ import annotations

from pathlib import Path

from courier.deployment.deployments import all_deployments, policy_for, signed_policy
from courier.deployment.run.journal import has_begun
from courier.deployment.run.policy import ReadPolicy, check_computer, verified
from courier.deployment.run.work import POLICY, Work
from courier.errors import CourierError, NotFoundError
from courier.files import read_private, write_atomic
from courier.site.catalog import deployments
from courier.site.clock import now
from courier.site.home import Site


def policy_at_home(site: Site, work: Work, computer: str, *, name: str, anew: bool) -> ReadPolicy:
    """The policy for ``computer`` in the deployment ``name``, or the newest one that goes to it where that is empty.

    A run that is not over goes on with the policy that it began with, unless ``anew``. Raises `NotFoundError`, and as
    `courier.deployment.deployments.policy_for` does.
    """
    wanted = name.upper() or newest_for(site, computer)
    path = work.folder / POLICY
    if not anew and (kept := _kept(site, path)) is not None and kept.policy.deployment == wanted:
        check_computer(kept.policy, computer)
        return kept
    data = signed_policy(site, policy_for(site, wanted, computer))
    made = verified(data, site.card, now_ns=now(), where="policy")
    if anew or not has_begun(work.journal):
        write_atomic(path, data, private=True)
    return made


def _kept(site: Site, path: Path) -> ReadPolicy | None:
    """The policy of the run that the work folder has; None where it has none, or one that is not usable any more."""
    if not path.exists():
        return None
    try:
        return verified(read_private(path), site.card, now_ns=now(), where=str(path))
    except CourierError:
        return None


def newest_for(site: Site, computer: str) -> str:
    """The newest deployment that goes to a computer and has not expired. Raises `NotFoundError`."""
    moment = now()
    found = []
    with site.catalogue.reading() as connection:
        for one, _ in all_deployments(site):
            expired = one.expires_ns is not None and moment >= one.expires_ns
            if not expired and deployments.target(connection, one.deployment, computer) is not None:
                found.append((one.created_ns, one.deployment))
    if not found:
        raise NotFoundError(f"no deployment goes to {computer}", hint="courier deploy list shows all deployments")
    return max(found)[1]
