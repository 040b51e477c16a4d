"use strict";

// The console as AWS's runtime has it: text or JSON, with levels (AWS: spec 3.6). One call is one record, whatever
// lines it has: on the plain pipe by carriage returns, on a telemetry descriptor by frames (AWS: spec 3.2).

const fs = require("node:fs");
const { format } = require("node:util");

const { asError, logText } = require("./faults.cjs");

const LEVELS = { TRACE: 4, DEBUG: 8, INFO: 12, WARN: 16, ERROR: 20, FATAL: 24 }; // also the level's bits in a frame's type
const FRAME_OF_TEXT = 0xa55a0003;
const FRAME_OF_JSON = 0xa55a0002;

class Log {
  constructor(environ, modern) {
    this.requestId = modern ? "-" : undefined; // of the invocation in hand; before the first, what AWS shows
    this._modern = modern;
    this.tenantId = undefined;
    this._json = environ.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
    this._least = LEVELS[environ.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? LEVELS.TRACE;
    const descriptor = parseInt(environ._LAMBDA_TELEMETRY_LOG_FD ?? "", 10);
    delete environ._LAMBDA_TELEMETRY_LOG_FD;
    this._write = descriptor >= 0 ? frameWriter(descriptor, this._json) : writeLine;
  }

  patchConsole() {
    for (const [name, level] of Object.entries(LEVELS)) {
      // The first parameter is always there: `console.log()` says "undefined" on AWS, too.
      const write = (message, ...more) => this._record(name, level, message, more);
      console[name.toLowerCase()] = level < this._least ? () => {} : write;
    }
    console.log = console.info;
  }

  /** An error that the runtime reports. */
  error(what, thrown) {
    if (this._json) console.error(asError(thrown));
    else console.error(what, logText(thrown));
  }

  _record(name, level, message, more) {
    const now = new Date();
    const time = now.toISOString();
    const text = this._json
      ? this._jsonRecord(name, time, message, more)
      : `${time}\t${this.requestId}\t${name}\t${format(message, ...more)}`;
    this._write(text, level, now);
  }

  _jsonRecord(name, time, message, more) {
    const record = { timestamp: time, level: name, requestId: this.requestId };
    if (this.tenantId) record.tenantId = this.tenantId;
    if (more.length === 0) {
      record.message = message;
      try {
        return JSON.stringify(record, (_, value) => (value instanceof Error ? errorMembers(value) : value));
      } catch {
        record.message = format(message); // circular, or with a number too large for JSON
        return JSON.stringify(record);
      }
    }
    record.message = format(message, ...more);
    const error = (this._modern ? more : [message, ...more]).find((value) => value instanceof Error);
    if (error !== undefined) {
      const { errorType, errorMessage, stackTrace } = errorMembers(error);
      Object.assign(record, { errorType, errorMessage, stackTrace: Array.isArray(stackTrace) ? stackTrace : [] });
    }
    return JSON.stringify(record);
  }
}

function errorMembers(error) {
  return {
    errorType: error?.constructor?.name ?? "UnknownError",
    errorMessage: error.message,
    stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : error.stack,
    ...error,
  };
}

function writeLine(text) {
  process.stdout.write(text.replace(/\n/g, "\r") + "\n");
}

function frameWriter(descriptor, json) {
  return (text, level, now) => {
    const body = Buffer.from(json ? text : text + "\n");
    const frame = Buffer.alloc(16);
    frame.writeUInt32BE(((json ? FRAME_OF_JSON : FRAME_OF_TEXT) | level) >>> 0, 0);
    frame.writeUInt32BE(body.length, 4);
    frame.writeBigInt64BE(BigInt(now.valueOf()) * 1000n, 8);
    fs.writeSync(descriptor, Buffer.concat([frame, body]));
  };
}

module.exports = { Log };
