"""An SFTP client on Paramiko for konko's tests: `put FROM TO`, `get FROM TO` of files and folders with names of any
bytes, and `operations`, which checks every call that Paramiko has."""

import argparse
import os
import socket
import stat

import paramiko


def connect():
    sock = socket.create_connection(("127.0.0.1", ARGS.port), timeout=20)
    transport = paramiko.Transport(sock)
    transport.start_client(timeout=20)
    key = transport.get_remote_server_key()
    if not paramiko.HostKeys(ARGS.known_hosts).check(f"[127.0.0.1]:{ARGS.port}", key):
        raise paramiko.SSHException(f"host key {key.get_name()} is not known")
    transport.auth_publickey(ARGS.user, paramiko.PKey.from_path(ARGS.key))
    return transport


def put(sftp, here, there):
    if not os.path.isdir(here):
        with open(here, "rb") as file:
            sftp.putfo(file, there)
        return
    sftp.mkdir(there)
    for name in os.listdir(here):
        put(sftp, here + b"/" + name, there + b"/" + name)


def names(sftp, there):
    """Paramiko decodes names as UTF-8 in listings of its own; here they stay bytes."""
    handle = sftp._request(paramiko.sftp.CMD_OPENDIR, there)[1].get_binary()
    found = []
    while True:
        try:
            kind, message = sftp._request(paramiko.sftp.CMD_READDIR, handle)
        except EOFError:
            break
        for _ in range(message.get_int()):
            name = message.get_binary()
            message.get_binary()
            attributes = paramiko.SFTPAttributes._from_msg(message)
            if name not in (b".", b".."):
                found.append((name, attributes))
    sftp._request(paramiko.sftp.CMD_CLOSE, handle)
    return found


def get(sftp, there, here):
    if not stat.S_ISDIR(sftp.stat(there).st_mode):
        with open(here, "wb") as file:
            sftp.getfo(there, file)
        return
    os.mkdir(here)
    for name, _ in names(sftp, there):
        get(sftp, there + b"/" + name, here + b"/" + name)


def raises(error, act, *arguments):
    try:
        act(*arguments)
    except error:
        return
    raise AssertionError(f"{act} {arguments} should fail")


def operations(sftp):
    assert sftp.normalize(".") == "/"
    sftp.mkdir("/ops", 0o750)
    sftp.chdir("/ops")
    assert sftp.getcwd() == "/ops"
    with sftp.open("f", "w+") as file:
        file.write("one\ntwo\n")
        file.seek(0)
        assert file.readlines() == ["one\n", "two\n"]
        file.truncate(3)
        assert file.stat().st_size == 3
        file.chmod(0o600)
        file.utime((11, 22))
    attributes = sftp.stat("f")
    assert (attributes.st_size, attributes.st_mtime, attributes.st_mode & 0o777) == (3, 22, 0o600), attributes
    with sftp.open("f", "a") as file:
        file.write(b"more")
    with sftp.open("f", "rb") as file:
        assert file.read() == b"onemore"
        assert file.readv([(0, 3), (3, 4)]).__next__() == b"one"
    raises(IOError, sftp.open, "f", "x")
    raises(FileNotFoundError, sftp.open, "missing")
    raises(FileNotFoundError, sftp.stat, "missing")
    sftp.symlink("f", "l")
    assert sftp.readlink("l") == "f"
    assert stat.S_ISLNK(sftp.lstat("l").st_mode) and stat.S_ISREG(sftp.stat("l").st_mode)
    sftp.rename("f", "g")
    sftp.open("h", "w").close()
    raises(IOError, sftp.rename, "g", "h")
    sftp.posix_rename("g", "h")
    assert sorted(sftp.listdir()) == ["h", "l"]
    assert {a.filename for a in sftp.listdir_iter()} == {"h", "l"}
    raises(PermissionError, sftp.chown, "h", 1, 1)
    sftp.truncate("h", 100)
    assert sftp.stat("h").st_size == 100
    raises(IOError, sftp.rmdir, "/ops")
    sftp.remove("l")
    sftp.remove("h")
    sftp.rmdir("/ops")


PARSER = argparse.ArgumentParser()
PARSER.add_argument("--port", type=int)
for option in ("--user", "--known-hosts", "--key"):
    PARSER.add_argument(option)
PARSER.add_argument("action")
PARSER.add_argument("paths", nargs="*")
ARGS = PARSER.parse_args()

with connect() as transport:
    SFTP = paramiko.SFTPClient.from_transport(transport)
    if ARGS.action == "operations":
        operations(SFTP)
    elif ARGS.action == "put":
        put(SFTP, os.fsencode(ARGS.paths[0]), os.fsencode(ARGS.paths[1]))
    else:
        get(SFTP, os.fsencode(ARGS.paths[1]), os.fsencode(ARGS.paths[0]))
