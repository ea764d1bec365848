"""An SSH server on AsyncSSH for konko's tests. Prints "port N" when it listens on 127.0.0.1.

Users, what they need to log in, and what they see:
  key        the public key of --client-keys
  password   the password "secret"
  prompts    keyboard-interactive: "Colour? " -> blue (echoed), then, in a second round, "Code: " -> 123456
  empty      keyboard-interactive: one round without prompts
  two        the public key, then the password "secret"
  expired    the password "old", which must be changed to "new"
  banner     a banner of two lines with an escape sequence and a letter that is not ASCII, then the public key
  none       nothing

Commands: "exit N", "signal NAME", "echo" (input back to output), "both" (output and error), "pty" (what terminal was
asked for), "env NAME". Without a command: "shell".
"""

import argparse
import asyncio
import logging
import sys

import asyncssh
import asyncssh.auth
from asyncssh.kex import get_kex_algs


class Server(asyncssh.SSHServer):
    """Decides who may log in."""

    def connection_made(self, conn):
        self.conn = conn
        self.user = ""
        self.round = 0
        self.key_accepted = False

    def begin_auth(self, username):
        self.user = username
        if username == "banner":
            self.conn.send_auth_banner("Welcome \x1b[31mred\x1b[0m\nsecond line: \u00e9\n")
        if username in ("key", "banner", "two"):
            self.conn.set_authorized_keys(ARGS.client_keys)
        return username != "none"

    def public_key_auth_supported(self):
        return self.user in ("key", "banner") or (self.user == "two" and not self.key_accepted)

    def password_auth_supported(self):
        return self.user in ("password", "expired") or (self.user == "two" and self.key_accepted)

    def validate_password(self, username, password):
        if username == "expired":
            if password == "old":
                raise asyncssh.PasswordChangeRequired("Your password has expired.")
            return False
        return username in ("password", "two") and password == "secret"

    def change_password(self, username, old_password, new_password):
        return username == "expired" and old_password == "old" and new_password == "new"

    def kbdint_auth_supported(self):
        return self.user in ("prompts", "empty")

    def get_kbdint_challenge(self, username, lang, submethods):
        if username == "empty":
            return ("Nothing to ask", "", "", [])
        return ("Quiz", "Two questions in two rounds.", "", [("Colour? ", True)])

    def validate_kbdint_response(self, username, responses):
        if username == "empty":
            return responses == []
        self.round += 1
        if self.round == 1:
            return responses == ["blue"] and ("Quiz", "", "", [("Code: ", False)])
        return responses == ["123456"]


async def run(process):
    """Carries out a command."""
    command, _, argument = (process.command or "shell").partition(" ")
    if command == "exit":
        process.exit(int(argument))
    elif command == "signal":
        process.exit_with_signal(argument, msg="as the test asked")
    elif command == "echo":
        while data := await process.stdin.read(65536):
            process.stdout.write(data)
            await process.stdout.drain()
        process.exit(0)
    elif command == "both":
        process.stdout.write(b"to output\n")
        process.stderr.write(b"to error\n")
        process.exit(0)
    elif command == "pty":
        process.stdout.write(f"term {process.term_type} size {process.term_size}\n".encode())
        process.exit(0)
    elif command == "env":
        process.stdout.write(process.env.get(argument, "unset").encode() + b"\n")
        process.exit(0)
    else:
        process.stdout.write(b"shell\n")
        process.exit(0)


class PublicKeyAuth(asyncssh.auth._ServerPublicKeyAuth):
    """RFC 4252 section 5.1 partial success, which AsyncSSH's servers have no call for."""

    @classmethod
    def supported(cls, conn):
        return conn.get_owner().public_key_auth_supported()

    async def send_success(self):
        server = self._conn.get_owner()
        if server.user == "two":
            server.key_accepted = True
            self.send_failure(partial_success=True)
        else:
            await super().send_success()


async def main():
    asyncssh.auth._server_auth_handlers[b"publickey"] = PublicKeyAuth
    listener = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[ARGS.host_key],
        process_factory=run,
        encoding=None,
        line_editor=False,
        allow_pty=True,
        kex_algs=[name.decode() for name in get_kex_algs() if not name.startswith(b"gss-")],
    )
    print("port", listener.get_port(), flush=True)
    await listener.wait_closed()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--client-keys", required=True)
    ARGS = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncssh.set_log_level("DEBUG")
    asyncio.run(main())
