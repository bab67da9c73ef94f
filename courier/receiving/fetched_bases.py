"""Contents that a delta builds on and that are missing here, as they come from the sender, block by block.

They gather in the spool's folder ``bases``: ``HEX.part`` with the map ``HEX.have``, one byte a block; whole and with
its SHA-256 a content is ``HEX``. Single blocks are not judged: no signed table is at hand where the content is lost.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import make_folder, write_atomic
from courier.parcel.base_contents import BASES, BaseContent, BaseContents
from courier.receiving.delta_needs import needs_of
from courier.receiving.held_bases import HeldBases
from courier.receiving.spool import Spool
from courier.site.home import Site
from formats.blocks import BLOCK
from formats.documents.repair import FileBlocks


def base_contents(site: Site, spool: Spool) -> BaseContents:
    """The contents that the parcel of a spool builds on, numbered; none where that cannot be read yet."""
    needs = needs_of(site, spool.packing, spool.contents())
    return BaseContents(len(spool.packing.archives), needs.held() if needs is not None else ())


def missing_base_blocks(site: Site, spool: Spool) -> list[tuple[BaseContent, int]]:
    """The blocks of contents that the parcel builds on and that are not here: each with its content."""
    needs = needs_of(site, spool.packing, spool.contents())
    if needs is None:
        return []
    missing = set(HeldBases(site, spool.packing, spool.folder, needs.held()).missing())
    return [
        (base, block)
        for base in BaseContents(len(spool.packing.archives), needs.held())
        if (base.sha256, base.size) in missing
        for block, here in enumerate(_have(spool.folder / BASES, base))
        if not here
    ]


def _have(folder: Path, base: BaseContent) -> bytearray:
    """The map of a content that comes."""
    try:
        data = bytearray((folder / f"{base.sha256}.have").read_bytes())
    except FileNotFoundError:
        return bytearray(base.blocks)
    return data if len(data) == base.blocks and (folder / f"{base.sha256}.part").exists() else bytearray(base.blocks)


def take_base_blocks(spool: Spool, base: BaseContent, file: FileBlocks, data: memoryview) -> int:
    """Write the blocks of one content of an answer; return how many were new.

    Raises `DamagedError`, with nothing kept of the content, once all of it is here and it is not what was signed.
    """
    folder = make_folder(spool.folder / BASES)
    if (folder / base.sha256).exists():
        return 0
    have, new, at = _have(folder, base), 0, 0
    part = folder / f"{base.sha256}.part"
    if not part.exists():
        part.touch()
    with part.open("r+b") as out:
        for block in file.blocks():
            length = base.length(block)
            if not have[block]:
                out.seek(block * BLOCK)
                out.write(data[at : at + length])
                have[block], new = 1, new + 1
            at += length
    if not all(have):
        write_atomic(folder / f"{base.sha256}.have", bytes(have))
        return new
    with part.open("rb") as whole:
        is_good = hashlib.file_digest(whole, "sha256").hexdigest() == base.sha256
    (folder / f"{base.sha256}.have").unlink(missing_ok=True)
    if is_good:
        part.replace(folder / base.sha256)
        return new
    part.unlink()
    raise DamagedError(
        f"{spool.packing.parcel}: a content that it builds on came from {spool.packing.source} and is not what was "
        "signed; nothing of it was kept",
        hint=f"ask again: courier parcel repair {spool.packing.parcel} --from-network; tell {spool.packing.source}",
        code=Code.WRONG_BLOCKS,
    )
