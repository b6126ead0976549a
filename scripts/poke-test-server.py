"""Keeps the server of wasm-bindgen-test-runner awake: poke-test-server.py PID

Its HTTP server gives each connection a thread, and may queue a new connection behind threads that wait for idle browser
connections: a module of the page then comes minutes late. A further connection makes it start another thread, which takes
what is queued. So this asks for something small once a second for as long as the process PID lives.
Linux only: elsewhere it ends at once.
"""

import os
import socket
import sys
import time


def listening_ports(pid):
    """Ports on loopback that a process listens on, by /proc."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    # Columns: 1 local address, 3 state (0A: listening), 9 inode.
    return [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in inodes]


def poke(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.recv(1)


pid = sys.argv[1]
while os.path.isdir(f"/proc/{pid}"):
    try:
        for port in listening_ports(pid):
            poke(port)
    except OSError:
        # It is not listening yet, busy, or gone.
        pass
    time.sleep(1)
