#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Processes of multiprocessing, behind queues, a lock and a manager, and pools of processes and threads of
concurrent.futures."""
import concurrent.futures
import hashlib
import multiprocessing
import time

STEPS = 80


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def work(lock, shared, asked, told, notes):
    for step, text in iter(asked.get, None):
        with lock:
            shared.value = (shared.value * 31 + int(text[:8], 16)) % (1 << 62)
        notes[step] = text[:4]
        told.put(digest(f"queue {text}"))


def main():
    lock, shared = multiprocessing.Lock(), multiprocessing.Value("q", 1)
    asked, told = multiprocessing.Queue(), multiprocessing.Queue()
    with open("seed", encoding="ascii") as file:
        state = digest(file.read())
    with multiprocessing.Manager() as manager, open("progress", "w", encoding="ascii") as progress, \
         concurrent.futures.ProcessPoolExecutor(2) as processes, \
         concurrent.futures.ThreadPoolExecutor(2) as threads:
        notes = manager.dict()
        worker = multiprocessing.Process(target=work, args=(lock, shared, asked, told, notes))
        worker.start()
        for step in range(STEPS):
            halves = [*processes.map(digest, [state, state[::-1]]), *threads.map(digest, [state[1:], state[2:]])]
            asked.put((step, "".join(halves)))
            state = told.get()
            print(step, state, file=progress, flush=True)
            time.sleep(0.1)
        asked.put(None)
        worker.join()
        result = f"{state} {shared.value} {''.join(notes[step] for step in range(STEPS))} {worker.exitcode}"
    with open("result", "w", encoding="ascii") as file:
        print(result, file=file)


if __name__ == "__main__":
    main()
