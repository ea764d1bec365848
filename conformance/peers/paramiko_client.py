"""A client on Paramiko for konko's tests. Called much like ssh: standard input goes to the command, its output to
standard output, its exit status is ours. Standard error has lines for the test:

  stderr N SHA256       what came on standard error
  terminal WHAT         a step of --terminal
  signal                the command ended without an exit status
  refused TYPE: TEXT    the server, or its key, or we were refused; the exit status is 255
"""

import argparse
import hashlib
import os
import re
import socket
import sys
import threading
import time

import paramiko

# Paramiko gives the server credit only for what is read, for both streams together: who reads one stream to its end
# before the other needs a window that holds the other.
WINDOW = 32 << 20


def connect():
    sock = socket.create_connection(("127.0.0.1", ARGS.port), timeout=20)
    transport = paramiko.Transport(sock, default_window_size=WINDOW)
    if ARGS.rekey:
        transport.packetizer.REKEY_BYTES = ARGS.rekey
    transport.use_compression(ARGS.compress)
    transport.start_client(timeout=20)
    key = transport.get_remote_server_key()
    if not paramiko.HostKeys(ARGS.known_hosts).check(f"[127.0.0.1]:{ARGS.port}", key):
        raise paramiko.SSHException(f"host key {key.get_name()} is not known")
    return transport


def log_in(transport):
    if ARGS.key:
        transport.auth_publickey(ARGS.user, paramiko.PKey.from_path(ARGS.key))
    if ARGS.password:
        # Without the fallback this is the method password and no other.
        transport.auth_password(ARGS.user, ARGS.password, fallback=False)
    if ARGS.answer:
        transport.auth_interactive(ARGS.user, lambda title, text, prompts: [ARGS.answer for _ in prompts])
    if not transport.is_authenticated():
        raise paramiko.AuthenticationException("the server wants more")


def feed(channel):
    while data := sys.stdin.buffer.read1(1 << 16):
        channel.sendall(data)
    channel.shutdown_write()


def read(receive, consume):
    while data := receive(1 << 16):
        consume(data)


def execute(transport):
    channel = transport.open_session()
    if ARGS.env:
        name, _, value = ARGS.env.partition("=")
        channel.set_environment_variable(name, value)
    channel.exec_command(ARGS.command)
    digest, size = hashlib.sha256(), 0

    def note(data):
        nonlocal size
        digest.update(data)
        size += len(data)

    output = threading.Thread(target=read, args=(channel.recv, sys.stdout.buffer.write), daemon=True)
    errors = threading.Thread(target=read, args=(channel.recv_stderr, note), daemon=True)
    threading.Thread(target=feed, args=(channel,), daemon=True).start()
    first, second = (errors, output) if ARGS.order == "errors" else (output, errors)
    first.start()
    if ARGS.order != "both":
        first.join()
    second.start()
    first.join()
    second.join()
    sys.stdout.flush()
    print(f"stderr {size} {digest.hexdigest()}", file=sys.stderr)
    status = channel.recv_exit_status()
    if status == -1:
        print("signal", file=sys.stderr)
    return status if status >= 0 else 254


def terminal(transport):
    """A shell on a terminal, as a person would use it."""
    channel = transport.open_session()
    channel.get_pty("xterm-konko", 100, 30)
    channel.invoke_shell()
    channel.settimeout(0.5)
    seen = ""

    def expect(pattern):
        nonlocal seen
        deadline = time.monotonic() + 15
        while not (found := re.search(pattern, seen)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{pattern!r} did not come; {seen!r} did")
            try:
                seen += channel.recv(4096).decode(errors="replace")
            except socket.timeout:
                pass
        seen = seen[found.end() :]
        return found

    channel.sendall("echo term=$TERM; stty size\n")
    expect(r"\nterm=xterm-konko\r\n30 100\r\n")
    print("terminal size", file=sys.stderr)
    channel.resize_pty(90, 40)
    channel.sendall("stty size\n")
    expect(r"\n40 90\r\n")
    print("terminal resized", file=sys.stderr)
    # Said by what is in the foreground then: a shell that is about to start it would get the interrupt itself.
    channel.sendall("sh -c 'echo sleeping; exec sleep 1000'\n")
    expect(r"\nsleeping\r\n")
    channel.sendall("\x03")
    channel.sendall("echo after $((40 + 2))\n")
    expect(r"\nafter 42\r\n")
    print("terminal interrupted", file=sys.stderr)
    channel.sendall("exit 7\n")
    return channel.recv_exit_status()


def main():
    transport = None
    try:
        transport = connect()
        log_in(transport)
        return terminal(transport) if ARGS.terminal else execute(transport)
    except (paramiko.SSHException, EOFError, OSError) as e:
        print(f"refused {type(e).__name__}: {e}", file=sys.stderr)
        return 255
    finally:
        if transport:
            transport.close()


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
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without waiting for the thread that reads standard input.
    os._exit(code)
