"""Hands listening sockets to a program as systemd does: `handing.py people=7:containers=9 PROGRAM …`.

It becomes the program, so that LISTEN_PID is right. The numbers are of file descriptors that it inherited.
"""

import fcntl
import os
import sys

FIRST_FD = 3
OUT_OF_THE_WAY = 100

if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[1].split(":"))
    kept = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, OUT_OF_THE_WAY) for fd in given.values()]
    for target, fd in enumerate(kept, FIRST_FD):
        os.dup2(fd, target, inheritable=True)
    os.closerange(FIRST_FD + len(kept), OUT_OF_THE_WAY + len(kept))
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": ":".join(given)}
    os.execvpe(sys.argv[2], sys.argv[2:], os.environ | told)
