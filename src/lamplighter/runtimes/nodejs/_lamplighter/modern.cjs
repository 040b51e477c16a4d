"use strict";

// Node.js 24 and later: handlers are async or return their answer, and what nobody catches ends the process as Node.js
// itself would.

const context = require("./context.cjs");
const { cause, fault, payload } = require("./faults.cjs");
const { within } = require("./globals.cjs");
const { load } = require("./handler.cjs");
const { ResponseStream, manner } = require("./streams.cjs");

const NO_CALLBACKS =
  "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to " +
  "modify this function to use a supported handler signature to use Node.js 24 or later. For more information see " +
  "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.";

class Runtime {
  constructor(api, log, environ) {
    this._api = api;
    this._log = log;
    this._environ = environ;
  }

  async start(runtimeDirectory) {
    try {
      this.handler = await load(this._environ, runtimeDirectory, true); // traces call it Runtime.handler
      this._manner = manner(this.handler);
      if (this.handler.length >= 3 && !this._manner.streaming) throw fault("CallbackHandlerDeprecated", NO_CALLBACKS);
    } catch (error) {
      this._log.error("Init Error", error);
      const failure = payload(error);
      await this._api.failInit(JSON.stringify(failure), failure.errorType);
      throw error; // Node.js prints it and exits
    }
    for (;;) {
      const event = await this._api.next();
      context.announce(event, this._log, this._environ);
      await within(event, () => (this._manner.streaming ? this._stream(event) : this._buffer(event)));
    }
  }

  async _buffer(event) {
    try {
      const [value, members] = given(event, this._environ);
      const text = serialise(await this.handler(value, members));
      await turn();
      this._api.answer(event, text);
    } catch (error) {
      await turn();
      this._log.error("Invoke Error", error);
      this._api.answerError(event, JSON.stringify(payload(error)), cause(error));
    }
  }

  async _stream(event) {
    const upload = this._api.stream(event);
    const out = new ResponseStream(upload, this._manner.highWaterMark);
    try {
      const [value, members] = given(event, this._environ);
      const pending = this.handler(value, out, members);
      if (typeof pending?.then !== "function") throw new Error("Streaming does not support non-async handlers.");
      if ((await pending) !== undefined) console.warn("Streaming handlers ignore return values.");
      await upload.taken;
      if (!out.writableFinished) throw new Error("Response stream is not finished.");
    } catch (error) {
      await turn();
      this._log.error("Invoke Error", error);
      await out.fail(payload(error));
    }
    await upload.taken;
  }
}

function given(event, environ) {
  const xRayTraceId = event.headers["lambda-runtime-trace-id"] ?? "";
  const functionName = environ.AWS_LAMBDA_FUNCTION_NAME;
  const members = { ...context.ofHeaders(event.headers), xRayTraceId, functionName, ...context.ofEnvironment(environ) };
  return [JSON.parse(event.body.toString()), members];
}

function serialise(value) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch {
    throw fault("JSONStringifyError", "Unable to stringify response body");
  }
  if (text === undefined) throw new TypeError("Wrong arguments"); // a function or a symbol, in AWS's words
  return text;
}

/** What is due in the event loop goes first. */
function turn() {
  return new Promise((resolve) => setImmediate(resolve));
}

function run(api, log, environ, runtimeDirectory) {
  new Runtime(api, log, environ).start(runtimeDirectory);
}

module.exports = { run };
