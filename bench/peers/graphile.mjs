// A worker in JavaScript: "graphile" and "graphile-batches" are graphile-worker, "extension" and "extension-batches"
// are the functions of the extension, through the same driver. See ../src/peer.rs.
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// Where bench/peers/install puts npm's packages.
const require = createRequire(`${process.env.PEERS}/graphile/`);
const { Client, Pool } = require('pg');

const mode = process.argv[2];
const now = () => performance.now() / 1000;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const answer = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);

if (mode === 'version') {
  const [worker, pg] = ['graphile-worker', 'pg'].map((name) => require(`${name}/package.json`).version);
  console.log(`${worker} (pg ${pg}, Node.js ${process.versions.node})`);
  process.exit();
}

// Until the time is over or there is nothing to do.
async function repeat(step, seconds) {
  const began = now();
  let [last, jobs] = [began, 0];
  while (last < began + seconds) {
    const done = await step();
    if (done === 0) break;
    jobs += done;
    last = now();
  }
  return { jobs, seconds: last - began };
}

async function extension() {
  const client = new Client();
  await client.connect();
  let worker;
  const ask = async (name, text, values = []) => (await client.query({ name, text, values })).rows;
  const many = JSON.stringify(Array(1000).fill({ task: 'bench' }));
  const steps =
    mode === 'extension'
      ? {
          enqueue: async () => (await ask('enqueue', 'SELECT minion.enqueue($1)', ['bench'])).length,
          work: async () => {
            const [job] = await ask('dequeue', 'SELECT * FROM minion.dequeue($1)', [worker]);
            if (!job) return 0;
            const [finished] = await ask('finish', 'SELECT minion.finish_job($1, $2) AS done', [job.id, job.retries]);
            if (!finished.done) throw new Error('finish_job said no');
            return 1;
          },
        }
      : {
          enqueue: async () => {
            const [made] = await ask('enqueue', 'SELECT count(*)::int FROM minion.enqueue_many($1)', [many]);
            return made.count;
          },
          work: async () => {
            const jobs = await ask('dequeue', 'SELECT * FROM minion.dequeue($1, max_jobs => 100)', [worker]);
            const values = [jobs.map((job) => job.id), jobs.map((job) => job.retries)];
            return (await ask('finish', 'SELECT count(*)::int FROM minion.finish_jobs($1, $2)', values))[0].count;
          },
        };
  return {
    reset: () => ask('reset', "SELECT minion.reset('all')"),
    register: async () => {
      [{ worker }] = await ask('register', 'SELECT minion.register_worker() AS worker');
    },
    enqueue: (seconds) => repeat(steps.enqueue, seconds),
    work: (seconds) => repeat(steps.work, seconds),
  };
}

// Its own runner takes the jobs; the task counts them.
async function graphile() {
  const { makeWorkerUtils, runTaskList, Logger } = require('graphile-worker');
  const batches = mode === 'graphile-batches';
  const pgPool = new Pool({ max: batches ? 30 : 4 });
  // It complains about a pool without them. An error ends the query, and with it this process.
  pgPool.on('error', () => {});
  pgPool.on('connect', (client) => client.on('error', () => {}));
  const events = new EventEmitter();
  const preset = {
    worker: batches
      ? { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
      : { concurrentJobs: 1 },
  };
  const options = { pgPool, preset, events, noHandleSignals: true, logger: new Logger(() => () => {}) };
  const utils = await makeWorkerUtils(options);
  await utils.migrate();
  const specs = Array(1000).fill({ identifier: 'bench', payload: [] });

  const add = batches
    ? async () => (await utils.addJobs(specs)).length
    : async () => (await utils.addJob('bench', [])) && 1;

  async function run(task, until) {
    const runner = runTaskList(options, { bench: task }, pgPool);
    await until();
    await runner.gracefulShutdown();
  }

  return {
    reset: () => pgPool.query('TRUNCATE graphile_worker._private_jobs'),
    register: () => {},
    fill: async (jobs) => utils.addJobs(specs.slice(0, jobs)),
    enqueue: (seconds) => repeat(add, seconds),
    // The clock starts when the runner asks for its first job: it takes a while to start.
    work: async (seconds) => {
      const called = now();
      let [began, last, jobs] = [undefined, called, 0];
      events.once('worker:getJob:start', () => (began = now()));
      const count = () => {
        if (jobs > 0 && now() >= began + seconds) return;
        last = now();
        jobs += 1;
      };
      // No job for a tenth of a second: there is none.
      const end = () => (jobs === 0 ? called + 3 : Math.min(began + seconds, last + 0.1));
      await run(count, async () => {
        while (now() < end()) await pause(0.01);
      });
      return { jobs, seconds: last - began };
    },
    cycle: async (seconds) => {
      const began = now();
      const each = Array(seconds).fill(0);
      // Each job that is done is replaced by another.
      const count = async (payload, helpers) => {
        const second = Math.floor(now() - began);
        if (second >= seconds) return;
        await utils.addJob('bench', []);
        each[second] += 1;
      };
      await run(count, () => pause(seconds));
      return { each };
    },
  };
}

const queue = await (mode.startsWith('extension') ? extension() : graphile());
answer({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, number] = line.split(' ');
  answer((await queue[command](Number(number))) ?? {});
}
process.exit();
