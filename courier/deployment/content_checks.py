"""Whether each computer gets every package that its steps use: the store, the points it reaches, its cache. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from courier.deployment.deployment_facts import ComputerFacts, DeploymentFacts, PackageFacts
from courier.deployment.finding_list import FindingList
from courier.deployment.sequence import AnyStep, PackageUse, Step
from courier.deployment.variables import package_of
from courier.distribution.cache_rules import DEFAULT_SIZE
from courier.text import size_text


def check_content(facts: DeploymentFacts, steps: Sequence[AnyStep], found: FindingList) -> None:
    """Add what is amiss with the packages of the steps, of the boot image, and with the caches."""
    is_used = False
    for computer in facts.computers:
        used: dict[str, PackageFacts] = {}
        for step, use in uses(facts, steps, computer):
            package = facts.used(use, computer)
            if package is None:
                _missing(facts, step, use, computer, found)
                continue
            if step is not None:
                used[package.name] = package
            is_used = is_used or package == facts.package
            _check_version(facts, step, use, package, found)
            _check_point(facts, step, package, computer, found)
            if package.retired is not None:
                found.add(
                    "package-retired",
                    f"{package.name} was retired by its source: {package.retired or 'no reason given'}",
                    "use a version that is not retired",
                    step=step,
                )
        _check_cache(facts, list(used.values()), computer, found)
    if facts.package is not None and not is_used and any(one.known for one in facts.computers):
        found.add(
            "package-unused",
            f"no step that runs uses {facts.package.name}, which is to be deployed",
            f'package = "{facts.package.ref.package}" in the step that applies it; or deploy another package',
        )


def uses(
    facts: DeploymentFacts, steps: Sequence[AnyStep], computer: ComputerFacts
) -> Iterator[tuple[Step | None, PackageUse]]:
    """The packages that a computer uses, with the step; first the boot image, with None."""
    if facts.sequence is not None and facts.sequence.boot_image.package:
        yield None, facts.sequence.boot_image
    for step in steps:
        use: PackageUse | None = getattr(step, "use", None)
        if use is not None and computer.runs(step):
            yield step, use


def _missing(
    facts: DeploymentFacts, step: Step | None, use: PackageUse, computer: ComputerFacts, found: FindingList
) -> None:
    wanted = package_of(use, computer.variables)
    if use.variable and not computer.known:
        return  # its variables are not known either: the computer is named by itself
    if not wanted:
        found.add(
            "variable-not-set",
            f"the variable {use.variable} names its package, and is not set",
            f"courier computer set {computer.name} --variable {use.variable}=ID; or set it under [variables]",
            step=step,
            computer=computer.name,
        )
        return
    by = f", which the variable {use.variable} names," if use.variable else ""
    what = "the boot image " if step is None else ""
    found.add(
        "boot-image-missing" if step is None else "package-missing",
        f"{what}{wanted}{by} is not in the store, or not part of this deployment",
        "courier package list shows what is there; a deployment keeps the versions that it was made with",
        step=step,
        computer=computer.name if use.variable else "",
    )


def _check_version(
    facts: DeploymentFacts, step: Step | None, use: PackageUse, package: PackageFacts, found: FindingList
) -> None:
    deployed = facts.package
    if deployed is None or use.version is None or package.ref.package != deployed.ref.package:
        return
    if package.ref.version != deployed.ref.version:
        found.add(
            "version-differs",
            f"it uses {package.name}, and {deployed.name} is to be deployed",
            f"write {deployed.ref.package} without a version there; or deploy {package.name}",
            step=step,
        )


def _check_point(
    facts: DeploymentFacts, step: Step | None, package: PackageFacts, computer: ComputerFacts, found: FindingList
) -> None:
    if not computer.known or set(computer.points) & package.points:
        return
    what = "the boot image " if step is None else ""
    group = f" (group {computer.group})" if computer.group else ""
    if computer.points:
        found.add(
            "package-not-at-point",
            f"{what}{package.name} is at no point that the computer{group} reaches: {', '.join(computer.points)}",
            f"courier point distribute {package.name} --point {computer.points[0]}",
            step=step,
            computer=computer.name,
        )
        return
    option = f" --group {computer.group}" if computer.group and facts.all_points else ""
    found.add(
        "no-point",
        f"the computer{group} reaches no distribution point",
        f"courier point add NAME PATH{option}, then courier point distribute {package.name} --point NAME",
        computer=computer.name,
    )


def _check_cache(
    facts: DeploymentFacts, used: Sequence[PackageFacts], computer: ComputerFacts, found: FindingList
) -> None:
    if facts.option == "run-from-point" or not computer.known or not used:
        return
    at_once = facts.option == "download-all"
    needed = sum(one.bytes for one in used) if at_once else max(one.bytes for one in used)
    names = ", ".join(one.name for one in used) if at_once else max(used, key=lambda one: one.bytes).name
    size = DEFAULT_SIZE if computer.cache_size is None else computer.cache_size
    if needed <= size:
        return
    gigabytes = f"{-(-needed // 10**9)}GB"
    if computer.client_class:
        whose = f"the cache of class {computer.client_class}"
        remedy = f"courier point class set {computer.client_class} --size {gigabytes}"
    else:
        whose = "the cache of a computer without a class"
        remedy = (
            f"courier point class set CLASS --size {gigabytes}, then courier computer set {computer.name} "
            f"--class CLASS; or on the computer: courier cache config --size {gigabytes}"
        )
    found.add(
        "cache-too-small",
        f"{names} {'need' if at_once and len(used) > 1 else 'needs'} {needed:,} bytes ({size_text(needed)}), and "
        f"{whose} has {size:,}",
        f"{remedy}; or --option run-from-point",
        computer=computer.name,
    )
