"""A client on AsyncSSH for konko's tests. Called much like ssh: standard input goes to the command, its output to
standard output, its exit status is ours. Standard error has lines for the test:

  stderr N SHA256       what came on standard error
  terminal WHAT         a step of --terminal
  signal NAME           the command was ended by that signal
  refused TYPE: TEXT    the server, or its key, or we were refused; the exit status is 255
"""

import argparse
import asyncio
import hashlib
import re
import sys

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_public_key_algs

# Holds one stream whole while the other is read.
WINDOW = 32 << 20


def names(algorithms):
    return [name.decode() for name in algorithms if not name.startswith(b"gss-")]


class Answers(asyncssh.SSHClient):
    """Answers every prompt."""

    def kbdint_auth_requested(self):
        return "" if ARGS.answer else None

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [ARGS.answer for _ in prompts]


def connection():
    methods = {"publickey": ARGS.key, "password": ARGS.password, "keyboard-interactive": ARGS.answer}
    return asyncssh.connect(
        "127.0.0.1",
        ARGS.port,
        client_factory=Answers,
        config=None,
        username=ARGS.user,
        known_hosts=ARGS.known_hosts,
        client_keys=[ARGS.key] if ARGS.key else None,
        agent_path=None,
        password=ARGS.password,
        preferred_auth=[method for method, proof in methods.items() if proof],
        compression_algs=["zlib@openssh.com"] if ARGS.compress else ["none"],
        rekey_bytes=ARGS.rekey or (1 << 30),
        kex_algs=names(get_kex_algs()),
        encryption_algs=names(get_encryption_algs()),
        mac_algs=names(get_mac_algs()),
        server_host_key_algs=names(get_public_key_algs()),
    )


async def feed(process):
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.run_in_executor(None, sys.stdin.buffer.read1, 1 << 16):
            process.stdin.write(data)
            await process.stdin.drain()
        process.stdin.write_eof()
    except (BrokenPipeError, ConnectionError):
        # The command ended first.
        pass


async def read(stream, consume):
    while data := await stream.read(1 << 16):
        consume(data)


async def execute(conn):
    env = dict([ARGS.env.split("=", 1)]) if ARGS.env else None
    process = await conn.create_process(ARGS.command, encoding=None, env=env, window=WINDOW)
    digest, size = hashlib.sha256(), 0

    def note(data):
        nonlocal size
        digest.update(data)
        size += len(data)

    feeding = asyncio.create_task(feed(process))
    output = read(process.stdout, sys.stdout.buffer.write)
    errors = read(process.stderr, note)
    if ARGS.order == "both":
        await asyncio.gather(output, errors)
    else:
        for one in (errors, output) if ARGS.order == "errors" else (output, errors):
            await one
    await process.wait_closed()
    await feeding
    sys.stdout.flush()
    print(f"stderr {size} {digest.hexdigest()}", file=sys.stderr)
    return left(process)


def left(process):
    if process.exit_signal:
        print("signal", process.exit_signal[0], file=sys.stderr)
        return 254
    return process.exit_status


async def terminal(conn):
    """A shell on a terminal, as a person would use it."""
    process = await conn.create_process(term_type="xterm-konko", term_size=(100, 30))
    seen = ""

    async def expect(pattern):
        nonlocal seen
        while not (found := re.search(pattern, seen)):
            try:
                seen += await asyncio.wait_for(process.stdout.read(4096), 15)
            except asyncio.TimeoutError:
                raise TimeoutError(f"{pattern!r} did not come; {seen!r} did") from None
        seen = seen[found.end() :]

    process.stdin.write("echo term=$TERM; stty size\n")
    await expect(r"\nterm=xterm-konko\r\n30 100\r\n")
    print("terminal size", file=sys.stderr)
    process.change_terminal_size(90, 40)
    process.stdin.write("stty size\n")
    await expect(r"\n40 90\r\n")
    print("terminal resized", file=sys.stderr)
    # Said by what is in the foreground then: a shell that is about to start it would get the interrupt itself.
    process.stdin.write("sh -c 'echo sleeping; exec sleep 1000'\n")
    await expect(r"\nsleeping\r\n")
    process.stdin.write("\x03")
    process.stdin.write("echo after $((40 + 2))\n")
    await expect(r"\nafter 42\r\n")
    print("terminal interrupted", file=sys.stderr)
    process.stdin.write("exit 7\n")
    await process.wait_closed()
    return left(process)


async def main():
    try:
        async with connection() as conn:
            return await (terminal(conn) if ARGS.terminal else execute(conn))
    except (asyncssh.Error, OSError) as e:
        print(f"refused {type(e).__name__}: {e}", file=sys.stderr)
        return 255


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--known-hosts", required=True)
    parser.add_argument("--key")
    parser.add_argument("--password")
    parser.add_argument("--answer", help="to every prompt")
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--env", help="NAME=VALUE")
    parser.add_argument("--rekey", type=int, help="bytes")
    parser.add_argument("--order", choices=["both", "output", "errors"], default="both", help="what is read first")
    parser.add_argument("--terminal", action="store_true")
    parser.add_argument("command")
    ARGS = parser.parse_args()
    sys.exit(asyncio.run(main()))
