// SPDX-License-Identifier: BSD-3-Clause
// Timers of the event loop, a worker thread that answers by messages, and a child process behind pipes.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const { spawn } = require('child_process');
const { Worker, isMainThread, parentPort } = require('worker_threads');

const STEPS = 40;

function hash(text) {
	return crypto.createHash('sha256').update(text).digest('hex');
}

function main() {
	const progress = fs.openSync('progress', 'w');
	const worker = new Worker(__filename);
	const child = spawn('sed', ['-u', 's/^/child /'], { stdio: ['pipe', 'pipe', 'inherit'] });
	let state = fs.readFileSync('seed', 'ascii').trim();
	let step = 0;
	child.stdout.on('data', (data) => {
		state = hash(data.toString().trim());
		fs.writeSync(progress, `${step} ${state}\n`);
		if (++step < STEPS) {
			setTimeout(() => worker.postMessage(state), 100);
			return;
		}
		worker.terminate();
		child.stdin.end();
	});
	child.on('exit', (status) => fs.writeFileSync('result', `${state} ${status}\n`));
	worker.on('message', (answer) => child.stdin.write(answer + '\n'));
	worker.postMessage(state);
}

if (isMainThread)
	main();
else
	parentPort.on('message', (text) => parentPort.postMessage(hash('worker ' + text)));
