"use strict";

// Entry of the managed Node.js runtime: reads its environment, loads the function, answers one invocation after the
// other. The directory appears read-only at /var/runtime in a sandbox. Standard library only, Node.js 20 and later; it
// imports nothing of the service, and the service nothing of it. All files are .cjs, so that neither a package.json
// above them nor a function's `require("name")` through NODE_PATH takes them for something else.

const path = require("node:path");

const faults = require("./_lamplighter/faults.cjs");
const globals = require("./_lamplighter/globals.cjs");
const { Log } = require("./_lamplighter/logs.cjs");
const { RuntimeApi } = require("./_lamplighter/runtime_api.cjs");
const waiting = require("./_lamplighter/waiting.cjs");

// From 24 on, AWS's runtime knows no callbacks, reports unserialisable answers by a type of their own and leaves what
// nobody catches to Node.js itself. What is before keeps what people's functions were written for.
const MODERN = Number(process.versions.node.split(".")[0]) >= 24;
const generation = MODERN ? require("./_lamplighter/modern.cjs") : require("./_lamplighter/classic.cjs");

process.mainModule = undefined; // as under AWS's runtime, whose main module is an ES module

function run() {
  const log = new Log(process.env, MODERN);
  log.patchConsole();
  globals.define(process.env, MODERN);
  faults.useModernForms(MODERN);
  const runtimeDirectory = process.env.LAMBDA_RUNTIME_DIR || path.dirname(__filename);
  generation.run(new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API), log, process.env, runtimeDirectory);
}

if (process.env.LAMPLIGHTER_WAITS) waiting.hear().then(run);
else run();
