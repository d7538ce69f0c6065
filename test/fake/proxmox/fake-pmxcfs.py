#!/usr/bin/python3
"""A fake of pmxcfs, the file system at /etc/pve: fake-pmxcfs.py DIRECTORY COUNT

It runs on the FUSE library that pmxcfs uses (libfuse 2) and answers as pmxcfs's source says: modes by path, no links,
no files without a name, the errors that it gives, times in whole seconds, what it lets the kernel cache, 1 MiB a file.
DIRECTORY/node1, DIRECTORY/node2, … are what COUNT nodes of a cluster see, each with a kernel cache of its own.

What is fake: there is no cluster. The nodes are processes here that share the DIRECTORY/tree (give one in
memory), so a change is everywhere at once, and there is no database. Locks below priv/lock do not expire. The special
files and links of the real one (.version, local, qemu-server) are missing, and so are its rules for guests'
configurations. The 128 MiB in all are what statfs says, as in the real one, whose writes nothing limits but the disk
below its database.

Switches, files that a test makes: DIRECTORY/no-quorum (writes fail, modes lose w), DIRECTORY/database-failed (writes
fail as after a full disk below the database). Ends when standard input does; unmounts and removes everything before.
"""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys

import fusepy

MAX_FILE_SIZE = 1024 * 1024
BLOCK_SIZE = 4096
MAX_SIZE = 128 * 1024 * 1024
MAX_INODES = 256 * 1024
WWW_DATA = 33


class Node:
    """The operations that pmxcfs has; FUSE answers ENOSYS for all others: link, symlink, fsync, flock, …"""

    use_ns = True

    def __init__(self, state):
        self.state = state
        self.tree = os.path.join(state, "tree")

    def __call__(self, operation, path, *args):
        return getattr(self, operation)(path, *args)

    def getattr(self, path, _handle=None):
        found = os.lstat(self.at(path))
        is_directory = stat.S_ISDIR(found.st_mode)
        quorate = not self.is_set("no-quorum")
        if is_directory:
            mode = 0o777 if quorate else 0o555
        else:
            mode = 0o666 if quorate else 0o444
        mode &= 0o700 if is_private(path) else 0o755 if is_directory else 0o750
        seconds = int(found.st_mtime) * 1_000_000_000
        return {
            "st_mode": (stat.S_IFDIR if is_directory else stat.S_IFREG) | mode,
            "st_nlink": 2 if is_directory else 1,
            "st_uid": 0,
            "st_gid": WWW_DATA,
            "st_size": 0 if is_directory else found.st_size,
            "st_blocks": 0 if is_directory else -(-found.st_size // BLOCK_SIZE),
            "st_atime": seconds,
            "st_mtime": seconds,
            "st_ctime": seconds,
        }

    def readdir(self, path, _handle):
        return [".", "..", *os.listdir(self.at(path))]

    def open(self, path, info):
        os.lstat(self.at(path))
        info.direct_io = 1
        info.keep_cache = 0
        return 0

    def create(self, path, _mode, _info):
        self.require_writable()
        os.close(os.open(self.at(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return 0

    def read(self, path, size, offset, _info):
        with open(self.at(path), "rb") as file:
            return os.pread(file.fileno(), size, offset)

    # by its path, not by what was opened: a file that is gone cannot be written
    def write(self, path, data, offset, _info):
        self.require_writable()
        if offset + len(data) > MAX_FILE_SIZE:
            raise OSError(errno.EFBIG, "")
        fd = os.open(self.at(path), os.O_WRONLY)
        try:
            return os.pwrite(fd, data, offset)
        finally:
            os.close(fd)

    def truncate(self, path, length, _info=None):
        self.require_writable()
        if length > MAX_FILE_SIZE:
            raise OSError(errno.EFBIG, "")
        os.truncate(self.at(path), length)
        return 0

    def unlink(self, path):
        self.require_writable()
        os.unlink(self.at(path))
        return 0

    def mkdir(self, path, _mode):
        self.require_writable()
        os.mkdir(self.at(path), 0o700)
        return 0

    def rmdir(self, path):
        self.require_writable()
        os.rmdir(self.at(path))
        return 0

    def rename(self, old, new):
        self.require_writable()
        source = self.at(old)
        if os.path.isdir(source) and os.listdir(source):
            raise OSError(errno.ENOTEMPTY, "")
        os.rename(source, self.at(new))
        # the real one gives what is renamed the time of the renaming
        os.utime(self.at(new))
        return 0

    def utimens(self, path, times):
        self.require_writable()
        os.utime(self.at(path), ns=times)
        return 0

    def chmod(self, path, mode):
        if stat.S_IMODE(mode) != (0o600 if is_private(path) else 0o640):
            raise OSError(errno.EPERM, "")
        return 0

    # ctypes gives -1, which stands for "as it is", without its sign
    def chown(self, _path, uid, gid):
        if uid not in (0, -1, 0xFFFFFFFF) or gid not in (WWW_DATA, -1, 0xFFFFFFFF):
            raise OSError(errno.EPERM, "")
        return 0

    def statfs(self, _path):
        sizes = [os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(self.tree) for name in names]
        blocks = MAX_SIZE // BLOCK_SIZE
        free = blocks - -(-sum(sizes) // BLOCK_SIZE)
        return {
            "f_bsize": BLOCK_SIZE,
            "f_blocks": blocks,
            "f_bfree": free,
            "f_bavail": free,
            "f_files": MAX_INODES,
            "f_ffree": MAX_INODES - len(sizes),
            "f_namemax": 256,
        }

    def at(self, path):
        return self.tree + path

    def is_set(self, switch):
        return os.path.exists(os.path.join(self.state, switch))

    def require_writable(self):
        if self.is_set("no-quorum"):
            raise OSError(errno.EACCES, "")
        if self.is_set("database-failed"):
            raise OSError(errno.EIO, "")


def is_private(path):
    """priv and what is below it, of the cluster and of each node."""
    parts = path.strip("/").split("/")
    return parts[0] == "priv" or (parts[0] == "nodes" and len(parts) > 2 and parts[2] == "priv")


def main():
    state, count = sys.argv[1:]
    os.makedirs(os.path.join(state, "tree", "priv", "lock"))
    mountpoints = [os.path.join(state, f"node{index + 1}") for index in range(int(count))]
    for mountpoint in mountpoints:
        os.mkdir(mountpoint)
    children = [start(state, mountpoint) for mountpoint in mountpoints]
    sys.stdin.read()
    for mountpoint in mountpoints:
        subprocess.run(["umount", "--lazy", mountpoint], check=False)
    for child in children:
        # a mount namespace that somebody made meanwhile still has the mount, and would keep it for as long as it lasts
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    shutil.rmtree(state)


def start(state, mountpoint):
    child = os.fork()
    if child == 0:
        # standard input is the parent's alone
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        fusepy.FUSE(
            Node(state),
            mountpoint,
            raw_fi=True,
            foreground=True,
            fsname="pmxcfs",
            default_permissions=True,
            allow_other=True,
            big_writes=True,
        )
        os._exit(0)
    return child


main()
