"""A worker in Python: "pgqueuer" and "pgqueuer-batches" are pgqueuer's own queries, called directly; "extension" and
"extension-batches" are the functions of the extension, through the same driver. See ../src/peer.rs."""

import asyncio
import json
import sys
import time
import uuid
from datetime import timedelta
from importlib.metadata import version

import asyncpg
import uvloop

MANY = 1000
BATCH = 100


class Extension:
    def __init__(self, connection):
        self.connection = connection
        self.worker = None

    async def reset(self):
        await self.connection.execute("SELECT minion.reset('all')")

    async def register(self):
        self.worker = await self.connection.fetchval("SELECT minion.register_worker()")

    async def enqueue(self):
        await self.connection.fetchval("SELECT minion.enqueue($1)", "bench")
        return 1

    async def work(self):
        job = await self.connection.fetchrow("SELECT * FROM minion.dequeue($1)", self.worker)
        if job is None:
            return 0
        if not await self.connection.fetchval("SELECT minion.finish_job($1, $2)", job["id"], job["retries"]):
            raise RuntimeError("finish_job said no")
        return 1


class ExtensionInBatches(Extension):
    many = json.dumps([{"task": "bench"}] * MANY)

    async def enqueue(self):
        return await self.connection.fetchval("SELECT count(*) FROM minion.enqueue_many($1)", self.many)

    async def work(self):
        jobs = await self.connection.fetch("SELECT * FROM minion.dequeue($1, max_jobs => $2)", self.worker, BATCH)
        ids, retries = [job["id"] for job in jobs], [job["retries"] for job in jobs]
        return await self.connection.fetchval("SELECT count(*) FROM minion.finish_jobs($1, $2)", ids, retries)


class PgQueuer:
    batch = 1

    def __init__(self, connection):
        # Here because it takes its time, which the extension's workers need not wait for.
        from pgqueuer.ports.repository import EntrypointExecutionParameter
        from pgqueuer.queries import Queries

        self.queries = Queries.from_asyncpg_connection(connection)
        self.manager = uuid.uuid4()
        self.entrypoints = {"bench": EntrypointExecutionParameter(0)}

    async def install(self):
        if not await self.queries.schema_is_installed():
            await self.queries.install()

    async def reset(self):
        await self.queries.clear_queue()
        await self.queries.clear_queue_log()

    async def register(self):
        pass

    async def fill(self, jobs):
        await self.queries.enqueue(["bench"] * jobs, [None] * jobs, [0] * jobs)

    async def enqueue(self):
        await self.queries.enqueue("bench", None)
        return 1

    async def work(self):
        jobs = await self.queries.dequeue(self.batch, self.entrypoints, self.manager, None, timedelta(seconds=30))
        if jobs:
            await self.queries.log_jobs([(job, "successful", None) for job in jobs])
        return len(jobs)


class PgQueuerInBatches(PgQueuer):
    batch = BATCH

    async def enqueue(self):
        await self.fill(MANY)
        return MANY


async def repeat(step, seconds):
    """Until the time is over or there is nothing to do."""
    began = last = time.monotonic()
    jobs = 0
    while last < began + seconds:
        done = await step()
        if done == 0:
            break
        jobs += done
        last = time.monotonic()
    return {"jobs": jobs, "seconds": last - began}


async def cycle(queue, seconds):
    began = time.monotonic()
    each = [0] * seconds
    while (second := int(time.monotonic() - began)) < seconds:
        await queue.enqueue()
        each[second] += await queue.work()
    return {"each": each}


MODES = {
    "extension": Extension,
    "extension-batches": ExtensionInBatches,
    "pgqueuer": PgQueuer,
    "pgqueuer-batches": PgQueuerInBatches,
}


async def main(mode):
    queue = MODES[mode](await asyncpg.connect())
    if hasattr(queue, "install"):
        await queue.install()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, *number = line.split()
        if command in ("enqueue", "work"):
            answer = await repeat(getattr(queue, command), float(*number))
        elif command == "cycle":
            answer = await cycle(queue, int(*number))
        else:
            answer = await getattr(queue, command)(*map(int, number))
        print(json.dumps(answer or {}), flush=True)


if sys.argv[1] == "version":
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"{version('pgqueuer')} (asyncpg {version('asyncpg')}, Python {python})")
else:
    uvloop.run(main(sys.argv[1]))
