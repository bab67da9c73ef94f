"""The policy that a run follows: read and verified with the site's card, judged by the computer's name and the time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.site.trust import Trust
from formats.documents import deployment
from formats.documents.card import SiteCard
from formats.documents.deployment import DeploymentPolicy
from formats.envelope import MAX_ENVELOPE
from formats.records import format_time


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPolicy:
    """A policy that was verified. ``digest``: SHA-256 of its signed bytes, which the journal is bound to."""

    policy: DeploymentPolicy
    digest: str


def read_policy(path: Path, card: SiteCard, *, now_ns: int) -> ReadPolicy:
    """The policy in a file, verified with the card of the site that made it.

    Raises `RefusedError`, `DamagedError` for bytes that are no policy, `NotFoundError`.
    """
    try:
        with path.open("rb") as source:
            data = source.read(MAX_ENVELOPE + 1)
    except FileNotFoundError:
        raise NotFoundError(
            f"{path} is not there", hint="have the site make it: courier deploy policy DEPLOYMENT COMPUTER --out FILE"
        ) from None
    return verified(data, card, now_ns=now_ns, where=str(path))


def verified(data: bytes, card: SiteCard, *, now_ns: int, where: str) -> ReadPolicy:
    """The policy in the envelope ``data``. Raises as `read_policy` does; ``where`` names it in errors."""
    trust = Trust.of_cards(card)
    policy, envelope = trust.verify(data, deployment.KIND, now_ns=now_ns, where=where)
    return ReadPolicy(policy=policy, digest=hashlib.sha256(envelope.payload).hexdigest())


def vouchers(policy: DeploymentPolicy, cards: Mapping[str, SiteCard]) -> dict[str, str]:
    """For each package version (``HQ100001:1``) of a policy the site whose word it rests on.

    That is its source where the card of that is among ``cards``, and else the site of the policy and its points.
    """
    return {
        f"{one.package}:{one.version}": source if (source := one.package[:3]) in cards else policy.site
        for one in policy.packages
    }


def check_computer(policy: DeploymentPolicy, name: str) -> None:
    """Raise `RefusedError` for a policy of another computer than the one called ``name``."""
    if policy.computer is not None and policy.computer.name.casefold() != name.casefold():
        raise RefusedError(
            f"the policy is for {policy.computer.name}, not for {name}",
            hint=f"have the site make one for it: courier deploy policy {policy.deployment} {name} --out FILE",
            code=Code.NOT_FOR_US,
        )


def check_times(policy: DeploymentPolicy, *, now_ns: int) -> None:
    """Raise `RefusedError` for a run that would begin before the deployment is available, or after it expired."""
    if policy.available_ns is not None and now_ns < policy.available_ns:
        raise RefusedError(
            f"the deployment {policy.deployment} is available from {format_time(policy.available_ns)} (UTC) on",
            hint="give the same command then, or check this computer's clock",
            code=Code.CLOCK,
        )
    if policy.expires_ns is not None and now_ns >= policy.expires_ns:
        raise RefusedError(
            f"the deployment {policy.deployment} expired at {format_time(policy.expires_ns)} (UTC)",
            hint="have the site make another one, or check this computer's clock",
            code=Code.CLOCK,
        )
