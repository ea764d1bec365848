"""An SFTP client on AsyncSSH for konko's tests: `put FROM TO`, `get FROM TO` of files and folders with names of any
bytes, and `operations`, which checks what AsyncSSH has beyond Paramiko."""

import argparse
import asyncio
import os

import asyncssh


async def fails(error, awaitable):
    try:
        await awaitable
    except error:
        return
    raise AssertionError(f"{awaitable} should fail")


async def operations(sftp):
    await sftp.makedirs("/ops/a/b")
    async with sftp.open("/ops/f", "wb") as file:
        await file.write(b"hello world")
        await file.fsync()
        assert (await file.statvfs()).bsize > 0
    assert (await sftp.statvfs("/ops")).namemax > 0
    await sftp.link("/ops/f", "/ops/g")
    await sftp.symlink("a/b", "/ops/l")
    assert await sftp.readlink("/ops/l") == "a/b"
    assert await sftp.realpath("/ops/l") == "/ops/a/b"
    await sftp.setstat("/ops/l", asyncssh.SFTPAttrs(atime=5, mtime=6), follow_symlinks=False)
    assert (await sftp.lstat("/ops/l")).mtime == 6
    await sftp.remote_copy("/ops/f", "/ops/h")
    assert await sftp.getsize("/ops/h") == 11
    await fails(asyncssh.SFTPError, sftp.rename("/ops/f", "/ops/h"))
    await sftp.posix_rename("/ops/f", "/ops/h")
    assert sorted(await sftp.glob("/ops/*")) == ["/ops/a", "/ops/g", "/ops/h", "/ops/l"]
    await fails(asyncssh.SFTPNoSuchFile, sftp.stat("/ops/f"))
    await sftp.rmtree("/ops")
    await fails(asyncssh.SFTPNoSuchFile, sftp.stat("/ops"))


async def main():
    connection = asyncssh.connect(
        "127.0.0.1",
        ARGS.port,
        config=None,
        username=ARGS.user,
        known_hosts=ARGS.known_hosts,
        client_keys=[ARGS.key],
        agent_path=None,
    )
    async with connection as ssh, ssh.start_sftp_client(path_encoding=None if ARGS.paths else "utf-8") as sftp:
        if ARGS.action == "operations":
            await operations(sftp)
            return
        here, there = map(os.fsencode, ARGS.paths)
        if ARGS.action == "put":
            await sftp.put(here, there, recurse=True)
        else:
            await sftp.get(there, here, recurse=True)


PARSER = argparse.ArgumentParser()
PARSER.add_argument("--port", type=int)
for option in ("--user", "--known-hosts", "--key"):
    PARSER.add_argument(option)
PARSER.add_argument("action")
PARSER.add_argument("paths", nargs="*")
ARGS = PARSER.parse_args()
asyncio.run(main())
