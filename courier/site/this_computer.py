"""The name of this computer, as the other computers of a site see it."""

from __future__ import annotations

import os
import re
import socket

COMPUTER = re.sub("[^A-Za-z0-9.-]", "_", socket.gethostname())[:100] or "unknown"
"""The name of this computer, of characters that any file name may have."""
PROCESS = os.getpid
"""The number of this process, which has a meaning on this computer only."""
