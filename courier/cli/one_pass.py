"""``courier parcel create --write``: building a parcel and writing its volumes in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.cli.console import Console
from courier.cli.written_volume import layout_named, say_after_writing, say_volume, volume_written

if TYPE_CHECKING:
    from courier.media.reading import Layout
    from courier.sending.outgoing_parcel import OutgoingParcel
    from courier.sending.plan import ParcelPlan
    from courier.sending.write import WriteReport
    from courier.site.home import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class OnePass:
    """That volumes are written in the same pass, in which layout and where."""

    layout: Layout
    outs: tuple[Path, ...]

    def check(self, plan: ParcelPlan) -> None:
        """Raise `RefusedError` for a parcel that takes two steps."""
        from courier.sending.one_pass_rules import check_one_pass

        check_one_pass(plan, self.layout, self.outs)

    def run(self, console: Console, site: Site, plan: ParcelPlan) -> tuple[OutgoingParcel, WriteReport]:
        """Build the parcel and write its volumes; say what was written."""
        from courier.sending.one_pass import create_and_write

        with console.phases() as progress:
            done = create_and_write(
                site,
                plan,
                layout=self.layout,
                outs=self.outs,
                progress=progress,
                written=lambda one: say_volume(console, one),
            )
        if done.went_on:
            console.note(
                f"{done.parcel.sent.parcel} was built by a run that was stopped before its volumes were complete; "
                "no other parcel was made."
            )
        return done.parcel, done.report

    def say_next(self, console: Console, parcel: str, done: WriteReport) -> None:
        """Say what comes next."""
        say_after_writing(console, parcel, done, layout=self.layout)


def one_pass_of(write: str | None, outs: Sequence[Path], *, cluster: str | None) -> OnePass | None:
    """What the options ask for; None where volumes are written later. Raises `UsageError` for half of it."""
    from courier.errors import UsageError

    if write is None:
        if outs:
            raise UsageError("--out names where --write puts the volumes", hint="give --write LAYOUT too, or neither")
        return None
    layout = layout_named(write, option="--write")
    if not outs:
        raise UsageError("--write needs a place for the volumes", hint="give --out DIR too")
    if cluster:
        raise UsageError(
            "one pass builds on this computer alone",
            hint="leave out --write, and write the volumes afterwards; or leave out --cluster (COURIER_CLUSTER)",
        )
    return OnePass(layout=layout, outs=tuple(outs))


def written_document(document: dict[str, Any], done: WriteReport) -> dict[str, Any]:
    """The JSON of a parcel that was created, and of its volumes that were written too."""
    spare = {one["number"]: one["spare"] for one in document["volumes"]}
    volumes = [{**volume_written(one), "spare": spare[one.number]} for one in done.volumes]
    return {**document, "state": done.state, "volumes": volumes}
