"""Deployments at their site: making and judging them, and the policy of each computer.

See docs/decisions/0030-deployment.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.checks import check_deployment
from courier.deployment.deployment_facts import DeploymentFacts
from courier.deployment.facts import WantedDeployment, gather, reachable
from courier.deployment.findings import Finding
from courier.deployment.sequence import AnyStep, CaptureStateStep, RestoreStateStep
from courier.deployment.sequence import Sequence as TaskSequence
from courier.deployment.sequence_file import load_sequence
from courier.deployment.state_place import state_place_for
from courier.deployment.variables import Variables, package_of, runs, variables_of
from courier.distribution.registry import all_points, folders_of, statement_of
from courier.error_codes import Code
from courier.errors import BusyError, NotFoundError, RefusedError
from courier.files import write_atomic
from courier.site.catalog import computers, deployments
from courier.site.catalog.computers import KnownComputer
from courier.site.catalog.deployments import Deployment, Target
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import deployment as policy_doc
from formats.documents.deployment import DeployedComputer, DeploymentPolicy, Option, ReachablePoint
from formats.documents.fields import PackageRef

KEY_BYTES = 32
_OPTIONS: dict[str, Option] = {
    "download-all": "download-all",
    "as-needed": "as-needed",
    "run-from-point": "run-from-point",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A deployment that was judged: what is known of it, and all that is amiss."""

    facts: DeploymentFacts
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> list[Finding]:
        """The findings for which it is refused."""
        return [one for one in self.findings if one.refuses]


def judge(site: Site, wanted: WantedDeployment) -> Judged:
    """Judge a deployment that is wanted. Nothing is written. Raises `UsageError` for a package that is none."""
    facts = gather(site, wanted)
    return Judged(facts=facts, findings=tuple(check_deployment(facts)))


def judge_again(site: Site, name: str) -> Judged:
    """Judge a deployment that was made, as things are now. Raises `NotFoundError`."""
    found = find_deployment(site, name)
    with site.catalogue.reading() as connection:
        names = deployments.targets(connection, found.deployment)
    return _judge_made(site, found, names)


def _judge_made(site: Site, found: Deployment, names: Sequence[str]) -> Judged:
    wanted = WantedDeployment(
        package=f"{found.package}:{found.version}",
        computers=names,
        sequence=found.sequence,
        option=_OPTIONS[found.option],
        available_ns=found.available_ns,
        deadline_ns=found.deadline_ns,
        expires_ns=found.expires_ns,
        pinned=pinned_packages(found),
    )
    return judge(site, wanted)


def create_deployment(site: Site, wanted: WantedDeployment, judged: Judged) -> Deployment:
    """Record a deployment that was judged good. Raises `RefusedError` where it is refused; then nothing is recorded.

    Raises `BusyError` where a computer was removed since it was judged.
    """
    facts = judged.facts
    if judged.refused or facts.package is None or facts.sequence is None:
        raise refusal(judged)
    refs = {one.ref for one in facts.versions.values()}
    with site.catalogue.writing() as connection:
        gone = {one.name for one in facts.computers}.difference(computers.names(connection))
        if gone:
            raise BusyError(f"computer {min(gone)} was removed meanwhile", hint="give the same command again")
        new = Deployment(
            deployment=deployments.next_id(connection, site.code),
            package=facts.package.ref.package,
            version=facts.package.ref.version,
            sequence=wanted.sequence,
            pinned="".join(f"{ref.package}:{ref.version} {ref.listing}\n" for ref in sorted(refs, key=_order)),
            option=wanted.option,
            available_ns=wanted.available_ns,
            deadline_ns=wanted.deadline_ns,
            expires_ns=wanted.expires_ns,
            created_ns=now(),
        )
        targets = [
            Target(deployment=new.deployment, computer=one.name, status_key=secrets.token_bytes(KEY_BYTES))
            for one in facts.computers
        ]
        deployments.add(connection, new, targets)
    return new


def refusal(judged: Judged) -> RefusedError:
    """The error for a deployment with findings: the first with its remedy, and how many more there are."""
    code = Code.REPARTITION_ERASES_CACHE
    first = next((one for one in judged.refused if one.code == code), None)
    if first is None:
        first, code = judged.refused[0], Code.DEPLOYMENT_REFUSED
    more = f" (and {len(judged.refused) - 1} more)" if len(judged.refused) > 1 else ""
    return RefusedError(f"{first.message}{more}", hint=first.remedy, code=code)


def _order(ref: PackageRef) -> tuple[str, int]:
    return ref.package, ref.version


def pinned_packages(found: Deployment) -> list[PackageRef]:
    """The package versions that a deployment was made with, in order."""
    refs = []
    for line in found.pinned.splitlines():
        name, listing = line.split(" ")
        package, version = name.split(":")
        refs.append(PackageRef(package=package, version=int(version), listing=listing))
    return sorted(refs, key=_order)


def find_deployment(site: Site, name: str) -> Deployment:
    """The deployment of that ID that was not removed. Raises `NotFoundError`."""
    with site.catalogue.reading() as connection:
        found = deployments.find(connection, name)
    if found is None or found.removed_ns is not None:
        what = f"there is no deployment {name}" if found is None else f"deployment {name} was removed"
        raise NotFoundError(what, hint="courier deploy list shows all deployments")
    return found


def all_deployments(site: Site, *, removed: bool = False) -> list[tuple[Deployment, int]]:
    """The deployments, each with the number of its computers; ``removed``: also those that were removed."""
    with site.catalogue.reading() as connection:
        return [(one, count) for one, count in deployments.everyone(connection) if removed or one.removed_ns is None]


def remove_deployment(site: Site, name: str) -> None:
    """Remove a deployment: no more policies are made. What its computers reported stays. Raises `NotFoundError`."""
    found = find_deployment(site, name)
    with site.catalogue.writing() as connection:
        deployments.remove(connection, found.deployment, now())


def cache_commands(site: Site, facts: DeploymentFacts) -> dict[str, str]:
    """For each class of the computers, the command by which they set their caches as the site has it for the class.

    Empty where nothing goes into a cache; without a class whose settings stand at a point that the computer reaches.
    """
    if facts.option == "run-from-point":
        return {}
    rows = {row.name: row for row in all_points(site)}
    found = {}
    for one in facts.computers:
        if one.client_class and one.cache_size is not None and one.client_class not in found and one.points:
            row = rows[one.points[0]]
            address = row.url or str(folders_of(site, row.name)[0])
            card = f"{site.code}.card"
            found[one.client_class] = f"courier cache config --from {address} --card {card} --class {one.client_class}"
    return found


# --- the policy of a computer ---------------------------------------------------------------------------------------


def policy_for(site: Site, name: str, computer: str) -> DeploymentPolicy:
    """What a computer is to do for the deployment ``name``; state that it captures gets a place at a point.

    Raises `NotFoundError` for a deployment, a computer that it does not go to, or state that is to be restored and was
    not captured, `RefusedError` where anything that
    create would refuse is amiss by now; and as `state_place_for`.
    """
    found = find_deployment(site, name)
    with site.catalogue.reading() as connection:
        target = deployments.target(connection, found.deployment, computer)
        known = computers.find(connection, computer)
    if target is None or known is None:
        raise NotFoundError(
            f"deployment {found.deployment} does not go to {computer}",
            hint=f"courier deploy show {found.deployment} shows its computers",
        )
    judged = _judge_made(site, found, [known.name])
    if judged.refused:
        raise refusal(judged)
    sequence = load_sequence(found.sequence, name=f"task sequence of {found.deployment}")
    variables = variables_of(sequence, known.name, known.variables)
    steps = [step for step in sequence.steps if runs(step, variables)]
    captures = any(isinstance(step, CaptureStateStep) for step in steps)
    refs = _used(found, sequence, steps, variables, known.name)
    return DeploymentPolicy(
        site=site.code,
        deployment=found.deployment,
        issued_ns=site.signing_time(now()),
        computer=_deployed(known),
        sequence=found.sequence,
        option=_OPTIONS[found.option],
        packages=tuple(refs),
        points=_points(site, known, refs),
        state=state_place_for(
            site,
            known.name,
            captures=captures,
            restores=any(isinstance(step, RestoreStateStep) for step in steps),
            # What is only restored has to be there: else the disk would be erased, and the restore fail.
            reserves=captures,
        ),
        status_key=target.status_key,
        available_ns=found.available_ns,
        deadline_ns=found.deadline_ns,
        expires_ns=found.expires_ns,
    )


def _deployed(known: KnownComputer) -> DeployedComputer:
    return DeployedComputer(
        name=known.name,
        guid=known.row.guid,
        macs=known.macs,
        client_class=known.row.client_class or None,
        variables=dict(known.variables),
    )


def _used(
    found: Deployment, sequence: TaskSequence, steps: Sequence[AnyStep], variables: Variables, name: str
) -> list[PackageRef]:
    """The package versions that the steps use on a computer, in order."""
    pinned = pinned_packages(found)
    refs = set()
    boot = [sequence.boot_image] if sequence.boot_image.package else []
    for use in (*boot, *(use for step in steps if (use := getattr(step, "use", None)) is not None)):
        wanted = package_of(use, variables)
        package, _, version = wanted.partition(":")
        held = [one for one in pinned if one.package == package and version in ("", str(one.version))]
        if not held:
            what = wanted or f"the package that the variable {use.variable} names"
            raise RefusedError(
                f"{name}: {what} is not in deployment {found.deployment}, whose versions were chosen when it was made",
                hint=f"courier deploy check {found.deployment}; then make a new deployment",
                code=Code.DEPLOYMENT_REFUSED,
            )
        # Without a version it is the deployed one, which create judged to be the only one of that package.
        chosen = next((one for one in held if (one.package, one.version) == (found.package, found.version)), held[-1])
        refs.add(chosen)
    return sorted(refs, key=_order)


def _points(site: Site, known: KnownComputer, refs: Sequence[PackageRef]) -> tuple[ReachablePoint, ...]:
    """The points that the computer reaches and that have any of the packages, the nearest first."""
    found = []
    for row in reachable(all_points(site), known.row.group_name):
        statement = statement_of(row)
        if statement is not None and set(refs) & set(statement.packages):
            address = row.url or str(folders_of(site, row.name)[0])
            found.append(ReachablePoint(point=row.name, address=address))
    return tuple(found[: policy_doc.MAX_POINTS])


def signed_policy(site: Site, policy: DeploymentPolicy) -> bytes:
    """The envelope of a policy. Raises as `Site.check_key` does."""
    site.check_key()
    return site.sign(policy.payload(), policy_doc.TYPE).encode()


def write_policy(site: Site, policy: DeploymentPolicy, path: Path) -> None:
    """Write a policy, signed, for its owner alone: it holds secrets of the computer."""
    write_atomic(path, signed_policy(site, policy), private=True)
