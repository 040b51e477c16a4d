"use strict";

// A process that was started before anybody knew for which function: it does what every start has to do, then waits
// until it is told the variables, as a JSON object on descriptor 4. From there on it is like any other.

const fs = require("node:fs");
const Module = require("node:module");

const ORDER = 4;
const FRAMES = "_LAMBDA_TELEMETRY_LOG_FD"; // was known from the start

/** Resolves when there is a function to run. */
async function hear() {
  await import("data:text/javascript,"); // makes the loader of ES modules ready
  const variables = JSON.parse(fs.readFileSync(ORDER, "utf8")); // blocks: nothing else is to be done
  fs.closeSync(ORDER);
  const frames = process.env[FRAMES];
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, variables);
  if (frames !== undefined) process.env[FRAMES] = frames;
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  Module._initPaths(); // NODE_PATH has been read at the start
}

module.exports = { hear };
