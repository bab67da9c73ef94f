"""All ratios of the toolkit against stock tools, by one command: `python benchmarks/run.py [--quick] [--json FILE]`.

    python benchmarks/run.py --quick               small sizes, some minutes; ratios tell little
    python benchmarks/run.py --only small --only large --in /srv/scratch

Peers run in the same run and on the same disk, and are flushed. The table has, for each step: our wall time and the
peer's, their ratio, the same of processor time (user and system of all processes: what counts where other work runs),
the target, whether it is met (at its ratio, or at 1.25 of the floor), the floor (the seconds that the disk takes to
write and flush the same bytes and to read them, as measured at the start), and the peak memory of the largest process.
Exit code 1 where a target is not met.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import rows_cluster
import rows_compressed
import rows_large
import rows_network
import rows_parity
import rows_small
import rows_start
from measure import Machine, Row, keep_memory_warm, look_at_machine, shown

SECTIONS: dict[str, Callable[[Path, Machine, bool], Iterator[Row]]] = {
    "start": rows_start.rows,
    "small": rows_small.rows,
    "large": rows_large.rows,
    "compressed": rows_compressed.rows,
    "parity": rows_parity.rows,
    "plan": rows_network.plan_rows,
    "channel": rows_network.channel_rows,
    "cluster": rows_cluster.rows,
    "catalogue": rows_cluster.catalogue_rows,
}


def main() -> None:
    """Run the sections, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether all works, in some minutes")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section; repeat for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--in", dest="folder", type=Path, help="folder to work in; 20 GB must be free, 3 with --quick")
    options = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.folder) as folder:
        keep_memory_warm(Path(folder))
        machine = look_at_machine(Path(folder), (256 if options.quick else 1024) << 20)
        print(
            f"{machine.processor}, {machine.processors} processors, "
            f"{'with' if machine.sha else 'without'} SHA instructions; openssl dgst -sha256 {machine.openssl / 1e6:.0f}"
            f" MB/s; disk {machine.write / 1e6:.0f} MB/s written and flushed, {machine.read / 1e6:.0f} MB/s read"
        )
        for name, rows in SECTIONS.items():
            if options.only and name not in options.only:
                continue
            place = Path(folder, name)
            place.mkdir()
            print(f"\n{name}")
            found += shown(rows(place, machine, options.quick))
    if options.json:
        document = {"machine": asdict(machine), "quick": options.quick, "rows": [row.document() for row in found]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    missed = [row.name for row in found if not row.met]
    if missed:
        print(f"\nnot met: {'; '.join(missed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
