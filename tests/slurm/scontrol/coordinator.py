#!/usr/bin/python3 -SEB
# SPDX-License-Identifier: BSD-3-Clause
"""usage: coordinator.py FILE, JSON: {job, step, answers, log} or {relay: [host, port], log}

A stand-in for ckpt-coordinator that answers requests as FILE says, for the user who runs it.  The protocol
is written again here from its description, so that both sides cannot share a mistake.

answers: {verb: {"rc": ..., "text": ..., "_progress": [...], "_delay": seconds, "_close": true}}.
port: printed when it listens.  log: a line of JSON for each thing that a client did.
"""
import ctypes
import json
import os
import secrets
import socket
import struct
import sys
import threading
import time

KNOCK, CHALLENGE, HELLO, WELCOME, REFUSED = 1, 2, 3, 4, 5
REQUEST, PROGRESS, RESULT = 64, 65, 66
MAGIC = 0x31504B43
UID_RESTRICTION = 9

munge = ctypes.CDLL("libmunge.so.2")
munge.munge_ctx_create.restype = ctypes.c_void_p
libc = ctypes.CDLL(None)


def encode(pairs, reader):
    context = ctypes.c_void_p(munge.munge_ctx_create())
    munge.munge_ctx_set(context, UID_RESTRICTION, ctypes.c_uint(reader))
    text, cred = pack(pairs), ctypes.c_void_p()
    error = munge.munge_encode(ctypes.byref(cred), context, text, len(text))
    assert error == 0, f"munge_encode: {error}"
    return ctypes.string_at(cred).decode()


def decode(cred):
    """(pairs, uid), or (None, error)."""
    text, size, uid, gid = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_uint(), ctypes.c_uint()
    error = munge.munge_decode(cred.encode(), None, ctypes.byref(text), ctypes.byref(size),
                               ctypes.byref(uid), ctypes.byref(gid))
    return (None, error) if error else (unpack(ctypes.string_at(text, size.value)), uid.value)


def pack(pairs):
    def quote(value):
        return str(value).replace("\\", "\\\\").replace("\n", "\\n")
    return "".join(f"{key}={quote(value)}\n" for key, value in pairs.items()).encode()


def unpack(text):
    pairs = {}
    for line in text.decode().splitlines():
        key, _, value = line.partition("=")
        pairs[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
    return pairs


class Connection:
    def __init__(self, sock):
        self.sock = sock

    def send(self, kind, pairs):
        payload = pack(pairs)
        self.sock.sendall(struct.pack("<IIHH", MAGIC, len(payload), kind, 1) + payload)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        magic, size, kind, _ = struct.unpack("<IIHH", self.exactly(12))
        assert magic == MAGIC
        return kind, unpack(self.exactly(size))


def knock(host, port):
    """As a client that wants to see a proof: the challenge."""
    connection = Connection(socket.create_connection((host, port), 5))
    connection.send(KNOCK, {"nonce": secrets.token_hex(16), "role": "client"})
    return connection.receive()[1]


class Server:
    def __init__(self, plan):
        self.plan = plan
        self.listener = socket.create_server(("", 0))
        self.port = self.listener.getsockname()[1]

    def log(self, **what):
        with open(self.plan["log"], "a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")

    def run(self):
        print(self.port, flush=True)
        while True:
            sock, _ = self.listener.accept()
            self.log(event="connection")
            work = self.relay if "relay" in self.plan else self.serve
            threading.Thread(target=self.guarded, args=(work, sock), daemon=True).start()

    def guarded(self, work, sock):
        try:
            work(sock)
        except (EOFError, OSError):
            pass
        finally:
            sock.close()

    def relay(self, client):
        """Stands between a client and the true coordinator."""
        server = socket.create_connection(self.plan["relay"], 5)

        def forward(source, sink):
            while data := source.recv(65536):
                if source is client:
                    self.log(event="relayed", kind=struct.unpack_from("<H", data, 8)[0])
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        threading.Thread(target=self.guarded, args=(lambda s: forward(s, client), server), daemon=True).start()
        forward(client, server)

    def serve(self, sock):
        c = Connection(sock)
        address, port = sock.getsockname()[:2]
        me = os.getuid()
        kind, pairs = c.receive()
        assert kind == KNOCK
        bound = {"h.who": "server", "h.server_nonce": secrets.token_hex(16),
                 "h.client_nonce": pairs["nonce"], "h.end": f"{address} {port}", "h.port": port,
                 "h.job": self.plan["job"], "h.step": self.plan["step"], "h.role": pairs["role"]}
        # A forger can make credentials for the owner to read, but in his own name only.
        cred = self.plan.get("cred") or encode(bound, self.plan.get("reader", me))
        nonce = self.plan.get("nonce") or bound["h.server_nonce"]
        c.send(CHALLENGE, {"nonce": nonce, "cred": cred})
        kind, hello = c.receive()
        self.log(event="hello", kind=kind, pairs=sorted(hello))
        have, uid = decode(hello.pop("cred", ""))
        want = {key: str(value) for key, value in {**bound, "h.who": "client", **hello}.items()}
        if kind != HELLO or have != want or uid != me:
            self.log(event="refused", uid=uid)
            c.send(REFUSED, {"text": "not for you"})
            return
        c.send(WELCOME, {"heartbeat_ms": 500})
        kind, request = c.receive()
        assert kind == REQUEST
        self.log(event="request", uid=uid, time=time.monotonic(), **request)
        with open(sys.argv[1], encoding="utf-8") as file:
            answer = json.load(file)["answers"].get(request["verb"], {"rc": "ESLURM_NOT_SUPPORTED"})
        for text in answer.get("_progress", []):
            c.send(PROGRESS, {"text": text})
        time.sleep(answer.get("_delay", 0))
        if not answer.get("_close"):
            c.send(RESULT, {key: value for key, value in answer.items() if not key.startswith("_")})


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    if "replay" in plan:
        seen = knock(*plan["replay"])
        plan["cred"], plan["nonce"] = seen["cred"], seen["nonce"]
    Server(plan).run()


if __name__ == "__main__":
    main()
