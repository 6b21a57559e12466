// A requester and a gateway made from nothing but the .proto files: creates a job, works on it, reads
// its results. What this does in another language, everybody can.
//
//   node conformance.mjs PROTO_DIR COORDINATOR
//
// Starts the coordinator on a free port with a data folder of its own, and ends both.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [protoDir, coordinatorPath] = process.argv.slice(2);
const ITEMS = 40;
const WORKERS = ['ann', 'bob', 'cyd', 'dan'];
const truth = (key) => (Number(key.slice(5)) % 3 === 0 ? 'yes' : 'no');

// --- The contract -----------------------------------------------------------------------------------

const definition = loader.loadSync(
  ['job_service', 'work_service', 'operator_service'].map((f) => `tessera/v1/${f}.proto`),
  { includeDirs: [protoDir], longs: Number, enums: String, defaults: true, oneofs: true },
);
const { tessera } = grpc.loadPackageDefinition(definition);

// Unary calls as promises, with a deadline: nothing here waits for ever.
function call(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + 20_000 }, (error, reply) =>
      error ? reject(error) : resolve(reply));
  });
}

// --- The coordinator --------------------------------------------------------------------------------

async function startCoordinator(dataDir) {
  const child = spawn(coordinatorPath, ['--listen', '127.0.0.1:0', '--data-dir', dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const address = await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      const found = /serving on (\S+)/.exec(text);
      if (found) resolve(found[1]);
    });
    child.on('exit', (code) => reject(new Error(`the coordinator ended with ${code} before it served`)));
  });
  return { child, address };
}

function stopCoordinator(child) {
  return new Promise((resolve) => {
    child.on('exit', (code) => resolve(code));
    child.kill('SIGTERM');
  });
}

// --- The gateway ------------------------------------------------------------------------------------

// Answers whatever it is given until `ended` is fulfilled; resolves to what was seen.
function work(client, job, ended) {
  return new Promise((resolve, reject) => {
    const stream = client.Work({ deadline: Date.now() + 60_000 });
    const seen = { assigned: 0, committed: 0, earned: 0, contentSeen: 0, templates: 0 };
    const fail = (error) => {
      stream.cancel();
      reject(error);
    };
    stream.on('error', (error) => (seen.finished ? resolve(seen) : fail(error)));
    stream.on('end', () => resolve(seen));
    ended.then(() => {
      seen.finished = true;
      stream.end();
    }, fail);
    stream.on('data', (message) => {
      try {
        if (message.welcome) {
          stream.write({
            leases: WORKERS.map((worker, i) => ({ demandId: i + 1, worker, assignmentsWanted: 1000 })),
          });
        }
        seen.templates += message.templates.length;
        const submits = message.assigned.map((assigned) => {
          seen.assigned += 1;
          assert.equal(assigned.job, job);
          assert.equal(assigned.pricePerItemMicros, 20_000);
          return {
            assignment: assigned.assignment,
            answers: assigned.items.map((item) => {
              if (item.content[0].text === `Is ${item.key} divisible?`) seen.contentSeen += 1;
              return { itemKey: item.key, answer: { fields: [{ choice: truth(item.key) }] } };
            }),
          };
        });
        // Everything is sent twice: a repeat gets the first reply and counts once.
        if (submits.length > 0) stream.write({ submits: [...submits, ...submits] });
        for (const committed of message.committed) {
          seen.committed += 1;
          seen.earned += committed.earnedMicros;
        }
        assert.deepEqual(message.rejected, []);
      } catch (error) {
        fail(error);
      }
    });
    stream.write({ hello: { gateway: 'conformance', protocolVersion: 1, client: 'node' } });
  });
}

// --- The story --------------------------------------------------------------------------------------

const dataDir = await mkdtemp(path.join(tmpdir(), 'tessera-node-'));
const { child, address } = await startCoordinator(dataDir);
let exitCode = 1;
try {
  const credentials = grpc.credentials.createInsecure();
  const options = { 'grpc.enable_http_proxy': 0 };  // The coordinator is on this machine.
  const jobs = new tessera.v1.JobService(address, credentials, options);
  const workers = new tessera.v1.WorkService(address, credentials, options);
  const operators = new tessera.v1.OperatorService(address, credentials, options);

  const request = {
    parent: 'tenants/acme',
    requestId: 'conformance-1',
    job: {
      displayName: 'Divisible by three',
      template: {
        title: 'Divisible?',
        version: '1',
        fields: [{ name: 'answer', choice: { classes: [{ value: 'no' }, { value: 'yes' }] } }],
      },
      policy: {
        budgetMicros: 50_000_000,
        currencyCode: 'USD',
        price: { pricePerItemMicros: 20_000 },
        quality: { answersMin: 2, answersMax: 4 },
        split: { itemsMax: 3 },
      },
    },
  };
  const job = await call(jobs, 'CreateJob', request);
  assert.equal((await call(jobs, 'CreateJob', request)).name, job.name, 'a create tried again lands where it did');

  const added = await new Promise((resolve, reject) => {
    const stream = jobs.AddItems({ deadline: Date.now() + 20_000 }, (error, reply) =>
      error ? reject(error) : resolve(reply));
    for (let offset = 0; offset < ITEMS; offset += 10) {
      const items = Array.from({ length: 10 }, (_, i) => {
        const key = `item-${offset + i}`;
        return { key, content: [{ name: "question", text: `Is ${key} divisible?` }] };
      });
      stream.write({ job: job.name, offset, items });
    }
    stream.end();
  });
  assert.equal(added.committedOffset, ITEMS);
  assert.equal(added.added, ITEMS);
  await call(jobs, 'SealJob', { name: job.name, expectedOffset: ITEMS });

  const plan = await call(jobs, 'PlanJob', { parent: 'tenants/acme', job: job.name });
  assert.ok(plan.strata.length > 0, 'a plan has strata');

  // Results are followed while the work goes on.
  const results = new Map();
  const followed = new Promise((resolve, reject) => {
    const stream = jobs.StreamResults({ job: job.name, follow: true }, { deadline: Date.now() + 60_000 });
    let last = 0;
    stream.on('data', (message) => {
      for (const result of message.results) {
        if (result.revision !== 0) {
          assert.ok(result.revision > last, 'revisions come in order');
          last = result.revision;
        }
        results.set(result.itemKey, result);
      }
    });
    stream.on('error', reject);
    stream.on('end', resolve);
  });

  const ended = new Promise((resolve, reject) => {
    const watch = jobs.WatchJob({ name: job.name }, { deadline: Date.now() + 60_000 });
    watch.on('data', (status) => {
      if (status.job.state === 'JOB_STATE_FINALISED') resolve(status.job);
    });
    watch.on('error', reject);
    watch.on('end', () => reject(new Error('the watch ended before the job')));
  });
  const seen = await work(workers, job.name, ended);
  const final = await ended;
  await followed;

  assert.equal(final.counts.itemsResolved, ITEMS);
  assert.equal(results.size, ITEMS);
  for (const [key, result] of results) {
    assert.equal(result.value.fields[0].choice, truth(key));
    assert.ok(result.confidence > 0.5);
  }
  const paid = final.ledger.earnedMicros + final.ledger.approvedMicros;
  assert.equal(paid, final.counts.answers * 20_000, 'each counted answer is paid once');
  assert.equal(seen.contentSeen, final.counts.answers, 'every item came with its content');
  assert.equal(seen.templates, 1, 'the template came once');
  assert.equal(final.counts.assignmentsOpen, 0);

  const explained = await call(jobs, 'ExplainItem', { job: job.name, itemKey: 'item-3' });
  assert.equal(explained.result.itemKey, 'item-3');
  assert.ok(explained.answers.length >= 2);

  // Refusals are precise, with google.rpc details.
  const refused = await call(jobs, 'GetJob', { name: 'tenants/acme/jobs/none' }).then(
    () => assert.fail('there is no such job'), (error) => error);
  assert.equal(refused.code, grpc.status.NOT_FOUND);
  assert.ok(refused.metadata.get('grpc-status-details-bin').length > 0);

  const list = await call(operators, 'ListWorkers', { parent: 'platforms/default' });
  assert.ok(list.workers.length > 0);
  console.log(`ok: ${final.counts.answers} answers, ${paid} micros, ${results.size} results`);
  exitCode = 0;
} finally {
  await stopCoordinator(child);
  await rm(dataDir, { recursive: true, force: true });
}
process.exit(exitCode);
