"""Provides a user name for a user id without one, as in a container started with `--user 12345` or on OpenShift.

`initdb` fails if its user has no name. Debian's `libnss-wrapper` answers the lookup from a file:
https://cwrap.org/nss_wrapper.html
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

LIBRARY = "libnss_wrapper.so"


def environment_with_name(uid: int, folder: Path) -> dict[str, str]:
    """Environment variables for a child process that needs a user name; empty if the system has one.

    If the library is not installed, the child's log reports it and the missing user.
    """
    try:
        pwd.getpwuid(uid)
    except KeyError:
        users, groups = folder / "passwd", folder / "group"
        users.write_text(f"kairos:x:{uid}:{os.getegid()}::/:/bin/false\n")
        groups.write_text(f"kairos:x:{os.getegid()}:\n")
        return {"LD_PRELOAD": LIBRARY, "NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": str(groups)}
    return {}
