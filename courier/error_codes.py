"""Exit codes of commands, and the codes by which scripts tell errors apart (``error.code`` in a JSON document).

The tables in docs/commands.md are made from these.
"""

from __future__ import annotations

from enum import StrEnum

EXIT_CODES = {
    0: "done",
    1: "unexpected error",
    2: "wrong usage",
    3: "refused (trust, signature, policy)",
    4: "content damaged or incomplete (the message says how to repair it)",
    5: "no space",
    6: "not found",
    7: "network unreachable (messages are kept for the next try)",
    8: "interrupted",
    9: "busy, try again",
    10: "something waits for a person (status --check)",
    11: "restart the computer, then give the same command again (deploy run --restart-is-end)",
    12: "a program that a task sequence runs failed, or a capture is not complete (the message says which step)",
}
"""What each exit code of a command means."""
RESTART = 11
"""The exit code of a client that wants its computer restarted."""


class Code(StrEnum):
    """The code of an error, with its ``meaning`` in one sentence. The codes of `formats.errors` are among them."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Code:
        """A member: its text as scripts see it, and what it means."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    ALREADY_HELD = "already-held", "The destination already has every package of the parcel."
    ANOTHER_SITE = "another-site", "The home folder holds keys or settings of another site."
    ARRIVAL_DISAGREES = "arrival-disagrees", "An arrival report names other volumes or seals than were sent."
    AMBIGUOUS_COMPUTER = "ambiguous-computer", "What was asked for is of several computers, or of none for certain."
    BAD_KEY_FILE = "bad-key-file", "A key file does not hold a key of the right kind."
    BAD_SIGNATURE = "bad-signature", "A signature is missing or wrong: the document was altered or signed by another."
    BASE_IN_USE = "base-in-use", "A parcel that arrives here builds on this package version, and is not imported yet."
    BASE_MISSING = "base-missing", "Content that a delta builds on is missing or damaged here; the sender can send it."
    BIND = "bind", "The server cannot listen at this address or port."
    BLOCK = "block", "A repair request asks for a block that the archive does not have."
    BUILD_DAMAGED = "build-damaged", "Files of a built parcel are missing or changed on this computer's disk."
    BUSY = "busy", "Another command is using the site or the parcel; try again later."
    BURN_FAILED = "burn-failed", "The program that burns discs reported an error, or is not installed."
    CACHE_BLOCKED = "cache-blocked", "Entries of the cache that may not go leave too little room for the package."
    CACHE_TOO_SMALL = "cache-too-small", "The package is larger than the whole cache."
    CARD_NOT_CHAINED = "card-not-chained", "A site's new card is not signed by a key of its pinned card."
    CATALOGUE = "catalogue", "The database of the catalogue reported an error."
    CATALOGUE_REPLACED = "catalogue-replaced", "Another catalogue lies in the home since the command began."
    CLOCK = "clock", "A time lies in the future, so this computer's clock or the sender's is wrong."
    CLUSTER = "cluster", "The workers of a cluster cannot do the work; the message says why."
    COMPLETE = "complete", "Nothing is missing, so there is nothing to repair."
    COMPUTERS_REFUSED = "computers-refused", "Lines of a table of computers cannot be taken."
    COMPUTER_IN_USE = "computer-in-use", "The computer is part of an association, a deployment or a held capture."
    DAMAGED = "damaged", "Content is damaged or incomplete."
    DEPLOYMENT_REFUSED = "deployment-refused", "A deployment has faults, which are listed, and was not made."
    DEFINITION_DISAGREES = "definition-disagrees", "A package definition and the ship notice name different content."
    DESTINATIONS_DIFFER = "destinations-differ", "The new parcel leaves out a site that the old one still goes to."
    DIGEST_MISMATCH = "digest-mismatch", "Content does not have the size or SHA-256 that the signed document gives it."
    END_OF_TAPE = "end-of-tape", "The tape is full, and the rest needs another reel."
    EXTRA_MISSING = "extra-missing", "An optional part of the toolkit is not installed."
    FOREIGN_PACKAGE = "foreign-package", "The package belongs to another site, which alone may add or retire versions."
    FOREIGN_VERSION = "foreign-version", "A parcel brings a version of this site's package that was not made here."
    FORGED_CARD = "forged-card", "A site card is not signed by the key that it names."
    FORMAT = "format", "Bytes do not have the expected format."
    FORMAT_NOT_READABLE = "format-not-readable", "The toolkit at the destination cannot read a format of the parcel."
    FULL = "full", "The site holds as many messages from this peer as it takes."
    HALF_A_HOME = "half-a-home", "The home folder has a catalogue but neither settings nor card."
    HELD = "held", "The parcel is complete but waits for a message or for the operator before it is imported."
    IDS_LOST = "ids-lost", "After a lost catalogue it is unknown which IDs or versions were already used."
    IDS_USED_UP = "ids-used-up", "The site has used every parcel number or package ID that it may give out."
    ILLEGAL_NAME = "illegal-name", "A file name is not allowed in a package or parcel."
    INCOMPLETE = "incomplete", "Blocks of the parcel are still missing."
    INTERRUPTED = "interrupted", "The operator or the system stopped the command; the same command goes on."
    IO = "io", "The system could not read or write the disk or medium."
    KEY_NOT_VALID = "key-not-valid", "A key was used before or after the time for which it is valid."
    LABEL_MISREAD = "label-misread", "The code on a label, or its check value, was misread or mistyped."
    LABEL_SUPERSEDED = "label-superseded", "A newer label was made for this volume, so that this one counts no more."
    LAX_KEY_FILE = "lax-key-file", "Other users of this computer can read a private key file."
    LEDGER_ALTERED = "ledger-altered", "The custody ledger was altered, or has lines that are no entries."
    LEDGER_INCOMPLETE = "ledger-incomplete", "Entries of the custody ledger are missing or cannot be proved."
    MALFORMED = "malformed", "A document or file does not follow its format."
    MEDIUM_NOT_READABLE = "medium-not-readable", "The destination has no drive for this kind of medium."
    MEDIUM_TOO_SMALL = "medium-too-small", "The medium is too small for what goes on it."
    MIXED_VOLUME = "mixed-volume", "A medium mixes documents of two parcels or builds."
    NAME_NOT_KEPT = "name-not-kept", "This operating system cannot store a file name of the package."
    NEWER_CATALOGUE = "newer-catalogue", "A newer release of the toolkit made the catalogue."
    NOTICE_DISAGREES = "notice-disagrees", "The ship notice names another build than the media carry."
    NOT_ANNOUNCED = "not-announced", "Custody entries came before the ship notice of their parcel."
    NOT_A_CARD = "not-a-card", "The file is not a site card."
    NOT_A_DESTINATION = "not-a-destination", "The parcel was not sent to this site."
    NOT_A_VOLUME = "not-a-volume", "The path is not a volume of a parcel."
    NOT_ASSOCIATED = "not-associated", "It is not said for which computer the state of another is captured."
    NOT_BUILT = "not-built", "The parcel was planned, but its build did not finish."
    NOT_CONCERNED = "not-concerned", "A site sent custody entries of a parcel that it has nothing to do with."
    NOT_CONFIRMED = "not-confirmed", "The command needs a yes, and did not get it."
    NOT_COVERED = "not-covered", "In a drill, parity could not repair all of the simulated damage."
    NOT_FOR_US = "not-for-us", "A document or encrypted content is meant for another site."
    NOT_FOUND = "not-found", "A site, package, parcel, volume or file is not there."
    NOT_PRINTABLE = "not-printable", "No font here can print a character of a name."
    NOT_REPRODUCIBLE = "not-reproducible", "An archive or parity file built again differs from the signed packing list."
    NOT_TRUSTED_THERE = "not-trusted-there", "The destination does not trust this site."
    NOT_WRITTEN = "not-written", "Volumes of the parcel are not written and verified yet."
    NOT_VOUCHED = "not-vouched", "No site that may vouch for a package has signed what the parcel holds of it."
    NO_ADDRESS = "no-address", "No network address of the other site is known."
    NO_CATALOGUE = "no-catalogue", "The catalogue is missing or empty."
    NO_CONTENT = "no-content", "The store no longer holds the content that the parcel is made of."
    NO_LOCKS = "no-locks", "The disk that the site's home lies on knows no locks."
    NO_PARCEL_KEY = "no-parcel-key", "The encryption key of the parcel is gone."
    NO_RECIPE = "no-recipe", "The site no longer holds the record of how the parcel was built."
    NO_RECIPIENT = "no-recipient", "A site's card has no encryption key."
    NO_ROOM = "no-room", "Content does not fit in the given capacity."
    NO_SPACE = "no-space", "A disk or medium has too little space."
    NO_SPACE_THERE = "no-space-there", "The destination has too little disk space for the parcel."
    NO_TAPE_DEVICES = "no-tape-devices", "Tape drives can be used on Linux only."
    NO_TOKEN_SUPPORT = "no-token-support", "The part of the toolkit for hardware tokens is not installed."
    OLDER_CATALOGUE = "older-catalogue", "The catalogue is of an older release, and the command only reads it."
    OTHER_BUILD = "other-build", "A volume is of another build of the parcel than the volumes received before."
    OTHER_KEY = "other-key", "The file, variable or token holds another key than this site signs with."
    OUTSIDE_LINKS = "outside-links", "Links lead out of a package, and the site's policy refuses that."
    OUT_OF_STEP = "out-of-step", "A peer sent a part of a message that does not follow the part before it."
    OVER_LIMIT = "over-limit", "A repair request asks for more than the site sends without asking the operator."
    OWN_PARCEL = "own-parcel", "The parcel was made at this site, which therefore does not receive it."
    PACKAGES_UNKNOWN = "packages-unknown", "The site no longer knows which packages the parcel carries."
    PARTIAL_STATE = "partial-state", "Something could not be read when the state of a computer was captured."
    PARCEL_REFUSED = "parcel-refused", "The operator refused this parcel."
    PAUSED = "paused", "The limits of the network address let no message pass now."
    PERMISSION = "permission", "The system does not let this user read or write there."
    READ_BACK = "read-back", "What was written to a medium did not read back the same."
    RECALLED = "recalled", "The sender recalled the parcel."
    RECEIPT_DISAGREES = "receipt-disagrees", "A receipt names other packages than the parcel carries."
    REDUNDANCY_TOO_LARGE = "redundancy-too-large", "A volume has too little room for the parity that was asked for."
    REEL_MISSING = "reel-missing", "A reel of the tape was not given."
    REFUSED = "refused", "Trust, signature or policy forbids it."
    REJECTED = "rejected", "The other site rejected a message."
    REPARTITION_ERASES_CACHE = (
        "repartition-erases-cache",
        "A sequence erases the disk with the cache into which everything was downloaded before.",
    )
    RESTORE_ONLY = "restore-only", "The state migration point takes no captures."
    RETIRED = "retired", "The package version is retired and must not be sent."
    REVOKED_KEY = "revoked-key", "A document is signed with a key that its site revoked."
    REVOKED_SITE = "revoked-site", "The site is not trusted any more."
    ROLLED_BACK_CARD = "rolled-back-card", "A site card is older than the pinned card."
    ROLLED_BACK_POINT = "rolled-back-point", "A distribution point shows an older statement than was seen before."
    SEAL_BROKEN = "seal-broken", "A seal that was read at the desk is not the one that is due."
    SECRET_NEEDED = "secret-needed", "A passphrase or PIN is needed and was not given."
    SEQUENCE = "sequence", "The text of a task sequence is not what it must be."
    SITE_HOME = "site-home", "The files to add lie in this site's home folder, which holds its private keys."
    SPARE_TOO_SMALL = "spare-too-small", "A spare volume has too little room for its parity."
    SPECIAL_FILE = "special-file", "A device, socket or pipe was named; a package holds none."
    SPOOL_DAMAGED = "spool-damaged", "Received blocks changed on this computer's disk."
    STATE_HELD = "state-held", "The state migration point still holds state that was not released and deleted."
    STATE_POINT_FULL = "state-point-full", "The state migration point holds the state of as many clients as it takes."
    STEP_FAILED = "step-failed", "A program of a task sequence, or one that the client called, failed."
    STORE = "store", "The bucket of the package store cannot be used; the message says why."
    SUPERSEDED = "superseded", "Another parcel replaces this one."
    TAPE_NOT_BLANK = "tape-not-blank", "The tape in the drive already holds something."
    TARGET_EXISTS = "target-exists", "A file or folder to be written already exists and is not overwritten."
    TIME_OUT_OF_RANGE = "time-out-of-range", "The time of a file is outside the years 1 to 9999."
    TOKEN = "token", "The hardware token reported an error or has no suitable key."
    TOO_LARGE = "too-large", "A size or count is beyond the limit of the format."
    TOO_MANY_HOLES = "too-many-holes", "Sparse files of a parcel have more bytes of holes than the site's policy takes."
    TOO_LONG_IN_TRANSIT = "too-long-in-transit", "The parcel was under way longer than the site's policy allows."
    TWO_STEPS = "two-steps", "The parcel cannot be built and written in one pass; it takes two commands."
    UNEXPECTED = "unexpected", "A fault of the toolkit or the system that has no code of its own."
    UNEXPECTED_MEMBER = "unexpected-member", "A medium or archive holds other files than its packing list says."
    UNKNOWN_FORMAT = "unknown-format", "A format or version that this release does not know."
    UNKNOWN_KEY = "unknown-key", "A document is signed with a key that the pinned card does not name."
    UNKNOWN_PARCEL = "unknown-parcel", "The parcel is not known here, or only another build of it."
    UNKNOWN_SITE = "unknown-site", "The card of this site is not pinned here."
    UNKNOWN_TYPE = "unknown-type", "A message is of a type that this release does not know."
    UNMENDABLE = "unmendable", "More blocks are damaged or missing than parity can repair."
    UNREACHABLE = "unreachable", "The other site did not answer over the network."
    UNREADABLE = "unreadable", "The medium has a place that cannot be read."
    USAGE = "usage", "The command line is wrong."
    VERSIONS_USED_UP = "versions-used-up", "The package already has the highest version number."
    VERSION_CONFLICT = "version-conflict", "This package version exists at the site with other content."
    VERSION_USED = "version-used", "The version number is not higher than the last one used."
    VOLUMES_MISSING = "volumes-missing", "Volumes of the parcel are not received yet."
    WAITS_FOR_PERSON = "waits-for-person", "Something at the site waits for a person."
    WAYBILL_NOT_COVERED = "waybill-not-covered", "Losing one waybill would be more than the spare volumes can replace."
    WITHDRAWN = "withdrawn", "The package version was withdrawn from the distribution point, or is too old for it."
    WRONG_BLOCKS = "wrong-blocks", "The answer to a repair request holds blocks that do not match the packing list."
    WRONG_DIGEST = "wrong-digest", "A message does not have the SHA-256 that its sender announced."
    WRONG_FINGERPRINT = "wrong-fingerprint", "A site card does not have the fingerprint that was given."
    WRONG_KEY = "wrong-key", "A parcel key is of another parcel or build."
    WRONG_PASSPHRASE = "wrong-passphrase", "The passphrase does not open the key file."
    WRONG_SITE = "wrong-site", "A document speaks for another site than the one that signed it."
    WRONG_STATE = "wrong-state", "The state of the parcel does not allow this."
    WRONG_TYPE = "wrong-type", "A document is of another kind than expected."
