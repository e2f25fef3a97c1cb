"""A name for a user id that has none, as in a container started with `--user 12345` or on OpenShift.

`initdb` looks up the name of its user and ends without one. Debian's `libnss-wrapper` answers the lookup from a file:
https://cwrap.org/nss_wrapper.html
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

LIBRARY = "libnss_wrapper.so"


def environment_with_name(uid: int, folder: Path) -> dict[str, str]:
    """Variables for a child process that needs a user name; empty where the system knows one.

    Where the library is not installed, the child's log names it and the missing user.
    """
    try:
        pwd.getpwuid(uid)
    except KeyError:
        users, groups = folder / "passwd", folder / "group"
        users.write_text(f"kairos:x:{uid}:{os.getegid()}::/:/bin/false\n")
        groups.write_text(f"kairos:x:{os.getegid()}:\n")
        return {"LD_PRELOAD": LIBRARY, "NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": str(groups)}
    return {}
