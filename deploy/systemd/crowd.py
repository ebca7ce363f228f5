#!/usr/bin/env python3
"""Asks for the token at a unix socket, so many times a second, until TERM: half of it on new
connections, half on kept ones. Nothing is asked twice. Prints how often each answer came, as JSON;
whatever is not "200" is a failure. Usage: crowd.py SOCKET RATE"""

import asyncio
import collections
import json
import signal
import sys

CLIENTS = 25
REQUEST = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 30


async def ask(path, kept=None, keep=False):
    """Asks once; gives what came, and the connection if it is to be kept and may be."""
    try:
        # As any client's pool does, it looks whether the connection is still open.
        is_open = kept and not kept[0].at_eof()
        reader, writer = kept if is_open else await asyncio.open_unix_connection(path)
    except OSError as error:
        return f"no connection: {error}", None
    try:
        writer.write(REQUEST)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(fields["content-length"]))
    except (OSError, asyncio.IncompleteReadError):
        writer.close()
        return "closed without an answer", None
    status = head[0].split()[1]
    if keep and fields.get("connection") != "close":
        return status, (reader, writer)
    writer.close()
    return status, None


async def ask_in_time(*how):
    try:
        return await asyncio.wait_for(ask(*how), PATIENCE)
    except asyncio.TimeoutError:
        return f"nothing in {PATIENCE} s", None


async def beats(rate, over):
    """Gives a beat so many times a second, whatever time is lost meanwhile."""
    clock = asyncio.get_running_loop()
    due = clock.time()
    while not over.is_set():
        yield
        due += 1 / rate
        await asyncio.sleep(max(0, due - clock.time()))


async def come_anew(path, rate, over, answers):
    under_way = set()

    async def once():
        answers[(await ask_in_time(path))[0]] += 1

    async for _ in beats(rate, over):
        task = asyncio.create_task(once())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def stay(path, rate, over, answers):
    kept = None
    async for _ in beats(rate, over):
        answer, kept = await ask_in_time(path, kept, True)
        answers[answer] += 1


async def main(path, rate):
    answers, over = collections.Counter(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    staying = (stay(path, rate / 2 / CLIENTS, over, answers) for _ in range(CLIENTS))
    await asyncio.gather(come_anew(path, rate / 2, over, answers), *staying)
    print(json.dumps(answers))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
