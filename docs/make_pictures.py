"""Make the pictures of docs/images: ``python docs/make_pictures.py``, with the extras ``docs`` and ``paper``.

Two sites are made in a temporary folder, a parcel goes from one to the other, and what the commands print becomes a
picture of a terminal. Labels and waybill are the PDFs of the commands, drawn by ``pdftoppm``; the start page is that of
the site of the docs, in ``chromium``. Nothing is drawn by hand. Look at each picture before you commit it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
COLUMNS = 104
"""Width of the terminal in the pictures, in characters."""
MOST_BYTES = 150_000
COURIER = (sys.executable, "-c", "from courier.cli import main; main()")
# As rich has it, but for fonts from elsewhere.
TERMINAL = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: Consolas, Menlo, "DejaVu Sans Mono", "Liberation Mono", monospace;
        font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
    }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


class Site:
    """A site in a folder, whose commands are run one after the other."""

    def __init__(self, root: Path, code: str, name: str) -> None:
        self._root, self.home = root, root / code
        self.run("init", "--site", code, "--name", name)
        self.run("site", "card", "--out", f"{code}.card")

    def run(self, *words: str) -> str:
        """What a command prints; both streams, as a terminal shows them. It must succeed."""
        environment = {**os.environ, "COURIER_HOME": str(self.home), "COLUMNS": str(COLUMNS), "LOGNAME": "anna"}
        ran = subprocess.run(
            [*COURIER, *words, "--yes"],
            cwd=self._root,
            env=environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if ran.returncode:
            raise SystemExit(f"courier {' '.join(words)}\n{ran.stdout}")
        return ran.stdout.replace(str(self._root), "/srv")

    def picture(self, name: str, *words: str) -> None:
        """Make a picture of a terminal in which a command is given."""
        typed = " ".join(f'"{word}"' if " " in word else word for word in words)
        console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
        console.print(Text("$ ", style="bold green"), Text(f"courier {typed}", style="bold"), sep="")
        console.print(Text(self.run(*words).rstrip()))
        svg = console.export_svg(title="courier", code_format=TERMINAL, unique_id=name)
        _keep(f"{name}.svg", svg.encode())


def _keep(name: str, data: bytes) -> None:
    if len(data) > MOST_BYTES:
        raise SystemExit(f"{name} has {len(data):,} bytes, and may have {MOST_BYTES:,}")
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_bytes(data)
    print(f"docs/images/{name}: {len(data):,} bytes")


def _journey(root: Path) -> None:
    """What the pictures of the terminal and of paper show."""
    (root / "share").mkdir()
    head = Site(root, "HQ1", "Headquarters")
    branch = Site(root, "BR1", "Branch office")
    for here, there in ((head, "BR1"), (branch, "HQ1")):
        here.run("site", "trust", f"{there}.card")
        here.run("channel", "address", "add", there, "share")
    for site in (head, branch, head):
        site.run("channel", "sync")
    for folder, seed in (("win11", 1), ("drivers", 2)):
        (root / folder).mkdir()
        for part in range(3):
            (root / folder / f"part{part}.wim").write_bytes(_noise(300_000, seed * 10 + part))
    head.run("package", "add", "win11", "--name", "Windows 11 23H2")
    head.run("package", "add", "drivers", "--name", "Drivers of the X1")
    create = ("parcel", "create", "HQ100001", "HQ100002", "--to", "BR1", "--capacity", "1400KB", "--spare-volumes", "1")
    head.picture("parcel-create", *create, "--dry-run")
    head.run(*create)
    head.run("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", "discs")
    discs = sorted(path.name for path in (root / "discs").iterdir())
    seals = [word for number in range(1, len(discs) + 1) for word in ("--seal", f"{number}=A00123{44 + number}")]
    head.run("parcel", "ship", "HQ1-000001", "--carrier", "Speedy Vans", "--tracking", "SV-0042", *seals)
    head.run("channel", "sync")
    head.run("parcel", "labels", "HQ1-000001", "--out", "labels.pdf")
    head.run("parcel", "waybill", "HQ1-000001", "--out", "waybill.pdf")
    branch.run("parcel", "receive", f"discs/{discs[0]}", f"discs/{discs[1]}")
    branch.run("channel", "sync")
    head.run("channel", "sync")
    head.run("parcel", "create", "HQ100002", "--to", "BR1", "--capacity", "2MB", "--anyway", "a second copy")
    head.picture("parcel-show", "parcel", "show", "HQ1-000001")
    head.picture("status", "status")
    _paper(root / "labels.pdf", "labels.png", rows=320)
    _paper(root / "waybill.pdf", "waybill.png", rows=620)


def _noise(size: int, seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(size)


def _paper(pdf: Path, name: str, *, rows: int) -> None:
    """A picture of the first page of a PDF, grey: its upper rows of pixels, as the rest of the sheet is empty."""
    out = pdf.with_suffix("")
    options = [
        "-r",
        "85",
        "-gray",
        "-png",
        "-singlefile",
        "-f",
        "1",
        "-x",
        "0",
        "-y",
        "0",
        "-W",
        "703",
        "-H",
        str(rows),
    ]
    subprocess.run(["pdftoppm", *options, str(pdf), str(out)], check=True)
    _keep(name, out.with_suffix(".png").read_bytes())


def _start_page(root: Path) -> None:
    """A picture of the start page of the site of the docs."""
    built = root / "html"
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-b", "html", str(DOCS), str(built)], check=True)
    shot = root / "start-page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1060,620"]
    options += [f"--user-data-dir={root / 'browser'}", f"--screenshot={shot}", (built / "index.html").as_uri()]
    subprocess.run(["chromium", *options], check=True, stderr=subprocess.DEVNULL)
    _keep(shot.name, shot.read_bytes())


def main() -> None:
    """Make all pictures."""
    for tool in ("pdftoppm", "chromium"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        _journey(Path(folder))
        _start_page(Path(folder))


if __name__ == "__main__":
    main()
