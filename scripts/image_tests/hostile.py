# Each test passes only if it can access something that supplied tests must not access.
import os
import socket


def test_reads_the_daemons_secrets():
    for name in ("local-secret", "secrets.json"):
        try:
            with open("/data/" + name) as file:
                file.read(1)
        except OSError:
            continue
        return
    raise AssertionError("closed")


def test_reads_another_process_environment():
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open("/proc/" + entry + "/environ", "rb") as file:
                    content = file.read()
            except OSError:
                continue
            if b"KAIROS" in content:
                return
    raise AssertionError("closed")


def test_reaches_the_api():
    try:
        socket.create_connection(("127.0.0.1", 8484), 2).close()
    except OSError:
        raise AssertionError("closed") from None


def test_writes_to_the_data_folder():
    try:
        with open("/data/written-by-a-test", "w"):
            return
    except OSError:
        raise AssertionError("closed") from None
