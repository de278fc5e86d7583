#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A server and its client, by TCP on the loopback device; the server forks to save its data."""
import os
import socket
import subprocess
import time

STEPS = 40


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def answer(self):
        line = self.file.readline().decode().strip()
        if line[:1] == "*":
            return [self.answer() for _ in range(int(line[1:]))]
        if line[:1] == "$":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        if line[:1] not in "+:" or not line:
            raise RuntimeError(f"redis: {line}")
        return line[1:]

    def call(self, *words):
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words)))
        return self.answer()


def start():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open("redis.log", "w", encoding="ascii") as log:
        # pylint: disable=consider-using-with
        server = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
                                  stdout=log, stderr=log)
    for _ in range(300):
        try:
            return server, Client(port)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise RuntimeError("redis-server does not answer")


def main():
    with open("seed", encoding="ascii") as file:
        state = file.read().strip()
    server, client = start()
    with open("progress", "w", encoding="ascii") as progress:
        for step in range(STEPS):
            state = client.call("EVAL", "return redis.sha1hex(ARGV[1])", 0, f"{step} {state}")
            print(step, client.call("RPUSH", "list", state), state, file=progress, flush=True)
            if step % 10 == 4:
                client.call("BGSAVE")
            time.sleep(0.1)
    result = client.call("LRANGE", "list", 0, -1)
    client.socket.sendall(b"SHUTDOWN NOSAVE\r\n")
    with open("result", "w", encoding="ascii") as file:
        print(result, server.wait(), os.path.getsize("dump.rdb") > 0, file=file)


if __name__ == "__main__":
    main()
