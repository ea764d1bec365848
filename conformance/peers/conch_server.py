"""SFTP by Twisted Conch: conch_server.py KEY ROOT. Alice's password is "wonderland". It ends with its standard input."""

import os
import sys

from twisted.conch.avatar import ConchUser
from twisted.conch.ssh import factory, filetransfer, keys, session
from twisted.conch.unix import SFTPServerForUnixConchUser
from twisted.cred import checkers, portal
from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol
from twisted.python import components
from twisted.python.filepath import FilePath
from zope.interface import implementer

KEY, ROOT = sys.argv[1:]


class User(ConchUser):
    def __init__(self):
        super().__init__()
        self.channelLookup[b"session"] = session.SSHSession
        self.subsystemLookup[b"sftp"] = filetransfer.FileTransferServer

    def getUserGroupId(self):
        return os.getuid(), os.getgid()

    def getHomeDir(self):
        return FilePath(ROOT)

    def _runAsUser(self, f, *args, **kw):
        """The process is the user already."""
        result = None
        for call in [(f, args, kw)] if callable(f) else f:
            function, args, kw = tuple(call) + ((), {})[len(call) - 1 :]
            result = function(*args, **kw)
        return result


components.registerAdapter(SFTPServerForUnixConchUser, User, filetransfer.ISFTPServer)


@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, name, mind, *interfaces):
        return interfaces[0], User(), lambda: None


class UntilTheEnd(Protocol):
    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


key = keys.Key.fromFile(KEY)
server = factory.SSHFactory()
server.publicKeys = {key.sshType(): key.public()}
server.privateKeys = {key.sshType(): key}
server.portal = portal.Portal(Realm())
server.portal.registerChecker(checkers.InMemoryUsernamePasswordDatabaseDontUse(alice=b"wonderland"))
print("port", reactor.listenTCP(0, server, interface="127.0.0.1").getHost().port, flush=True)
stdio.StandardIO(UntilTheEnd())
reactor.run()
