"""An SFTP server on AsyncSSH or Paramiko for konko's tests, over SSH with one user's key. Prints "port N" when it
listens on 127.0.0.1. The whole file system is served."""

import argparse
import asyncio
import os
import socket
import threading


def on_asyncssh(options):
    import asyncssh

    class Auth(asyncssh.SSHServer):
        def begin_auth(self, username):
            self._conn.set_authorized_keys(options.client_keys)
            return True

        def connection_made(self, conn):
            self._conn = conn

    async def main():
        listener = await asyncssh.create_server(
            Auth, "127.0.0.1", 0, server_host_keys=[options.host_key], sftp_factory=True, sftp_version=3
        )
        print("port", listener.get_port(), flush=True)
        await listener.wait_closed()

    asyncio.run(main())


def on_paramiko(options):
    import paramiko
    from paramiko import SFTPAttributes, SFTPHandle, SFTPServer

    def guarded(act):
        def run(*args):
            try:
                result = act(*args)
                return paramiko.SFTP_OK if result is None else result
            except OSError as e:
                return SFTPServer.convert_errno(e.errno)

        return run

    class Handle(SFTPHandle):
        @guarded
        def stat(self):
            return SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

        @guarded
        def chattr(self, attr):
            SFTPServer.set_file_attr(self.filename, attr)

    class Files(paramiko.SFTPServerInterface):
        def session_ended(self):
            pass

        @guarded
        def list_folder(self, path):
            out = []
            for name in os.listdir(path):
                attr = SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
                attr.filename = name
                out.append(attr)
            return out

        @guarded
        def stat(self, path):
            return SFTPAttributes.from_stat(os.stat(path))

        @guarded
        def lstat(self, path):
            return SFTPAttributes.from_stat(os.lstat(path))

        @guarded
        def open(self, path, flags, attr):
            mode = attr.st_mode if attr.st_mode is not None else 0o666
            fd = os.open(path, flags, mode)
            how = "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
            if flags & os.O_APPEND:
                how = "ab"
            file = os.fdopen(fd, how)
            handle = Handle(flags)
            handle.filename = path
            handle.readfile = file
            handle.writefile = file
            return handle

        remove = guarded(lambda self, path: os.remove(path))
        rmdir = guarded(lambda self, path: os.rmdir(path))
        posix_rename = guarded(lambda self, old, new: os.replace(old, new))
        symlink = guarded(lambda self, target, path: os.symlink(target, path))
        readlink = guarded(lambda self, path: os.readlink(path))
        chattr = guarded(lambda self, path, attr: SFTPServer.set_file_attr(path, attr))

        @guarded
        def rename(self, old, new):
            if os.path.lexists(new):
                return paramiko.SFTP_FAILURE
            os.rename(old, new)

        @guarded
        def mkdir(self, path, attr):
            os.mkdir(path)
            SFTPServer.set_file_attr(path, attr)

        def canonicalize(self, path):
            return os.path.abspath(os.path.join("/", path))

    class Auth(paramiko.ServerInterface):
        def check_auth_publickey(self, username, key):
            return paramiko.AUTH_SUCCESSFUL if key == user_key else paramiko.AUTH_FAILED

        def get_allowed_auths(self, username):
            return "publickey"

        def check_channel_request(self, kind, chanid):
            return paramiko.OPEN_SUCCEEDED

    fields = open(options.client_keys).read().split()
    user_key = paramiko.PKey.from_type_string(fields[0], __import__("base64").b64decode(fields[1]))
    host_key = paramiko.PKey.from_path(options.host_key)
    listener = socket.create_server(("127.0.0.1", 0))
    print("port", listener.getsockname()[1], flush=True)

    def serve(connection):
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
        transport.start_server(server=Auth())

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["asyncssh", "paramiko"])
    parser.add_argument("--host-key", required=True)
    parser.add_argument("--client-keys", required=True)
    options = parser.parse_args()
    (on_asyncssh if options.library == "asyncssh" else on_paramiko)(options)


main()
