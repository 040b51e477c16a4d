"use strict";

// Node.js 20 and 22: a handler answers by its promise, its callback or its context, or by an event loop that has
// nothing left to do. What nobody catches is reported, and then the process ends with AWS's exit codes.

const context = require("./context.cjs");
const { cause, payload, unhandledRejection } = require("./faults.cjs");
const { load } = require("./handler.cjs");
const { ResponseStream, manner } = require("./streams.cjs");

const AFTER_REJECTION = 128; // exit codes
const AFTER_EXCEPTION = 129;
const NOTHING = () => {};

class Runtime {
  constructor(api, log, environ) {
    this._api = api;
    this._log = log;
    this._environ = environ;
    this._whenIdle = NOTHING; // what an empty event loop means now
    this._invocation = undefined; // in hand, or the last one
    this._ending = false;
    process.on("uncaughtException", (error) => this._end("Uncaught Exception", error, AFTER_EXCEPTION));
    process.on("unhandledRejection", (reason, promise) => {
      this._end("Unhandled Promise Rejection", unhandledRejection(reason, promise), AFTER_REJECTION);
    });
    process.on("beforeExit", () => this._whenIdle());
  }

  async start(runtimeDirectory) {
    try {
      this.handler = await load(this._environ, runtimeDirectory, false); // traces call it Runtime.handler
      this._manner = manner(this.handler);
    } catch (error) {
      this._end("Uncaught Exception", error, AFTER_EXCEPTION);
      return;
    }
    this._next();
  }

  _next() {
    setImmediate(async () => {
      if (this._ending) return;
      this._whenIdle = NOTHING;
      const event = await this._api.next();
      context.announce(event, this._log, this._environ);
      this._invocation = this._manner.streaming ? new Streamed(this, event) : new Buffered(this, event);
      try {
        this._invocation.run(this._environ);
      } catch (error) {
        console.log(`Unexpected Top Level Error: ${error}`); // what was thrown can't even be reported
        this._leave(error, AFTER_EXCEPTION);
      }
    });
  }

  // What an invocation may ask for.

  whenIdle(action) {
    this._whenIdle = action;
  }

  stream(event) {
    const upload = this._api.stream(event);
    return [upload, new ResponseStream(upload, this._manner.highWaterMark)];
  }

  report(error) {
    this._log.error("Invoke Error", error);
  }

  answer(event, text) {
    this._api.answer(event, text);
  }

  answerError(event, error) {
    this._api.answerError(event, JSON.stringify(payload(error)), cause(error));
  }

  next() {
    this._next();
  }

  /** After this nothing of the function can be trusted: tell, and go. */
  _end(what, error, code) {
    this._log.error(what, error);
    this._leave(error, code);
  }

  async _leave(error, code) {
    if (this._ending) return;
    this._ending = true;
    if (this._invocation === undefined) {
      const failure = payload(error);
      await this._api.failInit(JSON.stringify(failure), failure.errorType);
    } else {
      await this._invocation.breakOff(error);
      await this._api.flush();
    }
    process.exit(code);
  }
}

class Buffered {
  constructor(runtime, event) {
    this._runtime = runtime;
    this._event = event;
    this._waits = true; // a callback's answer is sent when the event loop is empty
    this._answered = false; // with a value; a second one is worth a line in the log
    this._settled = false; // with a value or an error; there is no second one
  }

  run(environ) {
    const first = onlyFirst();
    const members = this._context(first);
    const callback = first((error, value) => this._callback(error, value));
    this._runtime.whenIdle(() => {
      this._answered = true;
      this._settle(() => this._runtime.answer(this._event, "null"));
    });
    try {
      const value = JSON.parse(this._event.body.toString());
      Object.assign(members, context.ofEnvironment(environ), context.ofHeaders(this._event.headers));
      const answer = this._runtime.handler(value, members, callback);
      if (typeof answer?.then === "function") answer.then(members.succeed, members.fail).catch(members.fail);
    } catch (error) {
      callback(error);
    }
  }

  /** Settle with the error that ends the process, unless it is settled. */
  async breakOff(error) {
    this._settle(() => this._runtime.answerError(this._event, error), NOTHING);
  }

  _context(first) {
    const invocation = this;
    return {
      get callbackWaitsForEmptyEventLoop() {
        return invocation._waits;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        invocation._waits = value;
      },
      succeed: first((value) => this._done(null, value)),
      fail: first((error) => this._done(error ?? "handled", null)),
      done: first((error, value) => this._done(error, value)),
    };
  }

  _callback(error, value) {
    if (error !== undefined && error !== null) {
      this._done(error);
    } else if (this._waits) {
      this._runtime.whenIdle(() => setImmediate(() => this._complete(value)));
    } else {
      this._done(null, value);
    }
  }

  _done(error, value) {
    this._runtime.whenIdle(NOTHING);
    if (error !== undefined && error !== null) {
      this._runtime.report(error);
      this._settle(() => this._runtime.answerError(this._event, error));
    } else {
      this._complete(value);
    }
  }

  _complete(value) {
    if (this._answered) {
      console.error(
        "Invocation has already been reported as done. Cannot call complete more than once per invocation.",
      );
      return;
    }
    this._answered = true;
    const text = serialise(value);
    this._settle(() => this._runtime.answer(this._event, text));
  }

  _settle(post, then = () => this._runtime.next()) {
    if (this._settled) return;
    this._settled = true;
    post();
    then();
  }
}

class Streamed {
  constructor(runtime, event) {
    this._runtime = runtime;
    this._event = event;
    this._waits = true; // the next event is asked for when the event loop is empty
    [this._upload, this._out] = runtime.stream(event);
  }

  async run(environ) {
    try {
      const members = this._context();
      Object.assign(members, context.ofEnvironment(environ), context.ofHeaders(this._event.headers));
      const pending = this._runtime.handler(JSON.parse(this._event.body.toString()), this._out, members);
      if (typeof pending?.then !== "function") {
        await this._fail("Streaming does not support non-async handlers.");
        return;
      }
      if ((await pending) !== undefined) console.warn("Streaming handlers ignore return values.");
      await this._upload.taken;
      if (this._out.writableFinished) this._leave();
      else await this._fail("Response stream is not finished.");
    } catch (error) {
      await this._fail(error);
    }
  }

  /** End what was sent so far with the error that ends the process. */
  async breakOff(error) {
    if (!this._upload.ended) await this._out.fail(payload(error));
    await this._upload.taken;
  }

  async _fail(error) {
    this._runtime.report(error);
    await this._out.fail(payload(error));
    await this._upload.taken;
    this._leave();
  }

  _leave() {
    if (this._waits) this._runtime.whenIdle(() => this._runtime.next());
    else this._runtime.next();
  }

  _context() {
    const invocation = this;
    return {
      get callbackWaitsForEmptyEventLoop() {
        return invocation._waits;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        invocation._waits = value;
      },
    };
  }
}

function serialise(value) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch {
    throw new Error("Unable to stringify response body");
  }
  if (text === undefined) throw new TypeError("Wrong arguments"); // a function or a symbol, in AWS's words
  return text;
}

/** Of all functions that what is returned wraps, only the first call counts; one that throws doesn't. */
function onlyFirst() {
  let done = false;
  return (action) =>
    (...values) => {
      if (done) return;
      action(...values);
      done = true;
    };
}

function run(api, log, environ, runtimeDirectory) {
  new Runtime(api, log, environ).start(runtimeDirectory);
}

module.exports = { run };
