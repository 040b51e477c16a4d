"use strict";

// Answers that are sent while they are made: what `awslambda.streamifyResponse` marks, and the stream it writes to.

const { Writable } = require("node:stream");

const { fault } = require("./faults.cjs");

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const RESPONSE = "response";
const FOR_HTTP = "application/vnd.awslambda.http-integration-response";
const SEPARATOR = new Uint8Array(8); // between what the response says of itself and its body

/** Marks a handler(event, responseStream, context). */
function streamifyResponse(handler, options) {
  handler[STREAMING] = RESPONSE;
  if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  return handler;
}

/** Whether the handler streams, and the size of its stream's buffer: {streaming, highWaterMark}. */
function manner(handler) {
  const mark = handler[STREAMING];
  if (mark && mark !== RESPONSE) throw fault("MalformedStreamingHandler", "Only response streaming is supported.");
  const size = parseInt(handler[HIGH_WATER_MARK], 10);
  return { streaming: Boolean(mark), highWaterMark: size > 0 ? size : undefined };
}

class ResponseStream extends Writable {
  constructor(upload, highWaterMark) {
    super({ decodeStrings: true, ...(highWaterMark && { highWaterMark }) });
    this._upload = upload;
    this._contentType = "application/octet-stream";
    this._written = false;
    this._onBeforeFirstWrite = undefined; // AWS's name: gets a function to write what goes before everything
  }

  setContentType(contentType) {
    if (this._written) throw fault("InvalidStreamingOperation", "Cannot set content-type, too late.");
    this._contentType = contentType;
  }

  write(chunk, encoding, callback) {
    this._written = true;
    return super.write(plain(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    if (chunk === undefined || chunk === null || typeof chunk === "function") return super.end(chunk);
    this._written = true;
    return super.end(plain(chunk), encoding, callback);
  }

  _write(chunk, _encoding, callback) {
    this._start();
    this._upload.write(chunk, callback);
  }

  _final(callback) {
    this._start();
    this._upload.end(undefined, callback);
  }

  _start() {
    if (this._upload.started) return;
    this._upload.start(this._contentType);
    this._onBeforeFirstWrite?.((chunk) => this._upload.write(Buffer.from(chunk), () => {}));
  }

  /** End it with an error, as far as it has got. Resolves when that is sent. */
  fail(error) {
    return new Promise((resolve) => {
      if (this._upload.ended) {
        resolve();
        return;
      }
      if (!this._upload.started) this._upload.start(this._contentType);
      if (this.destroyed || this.writableEnded) {
        this._upload.end(error, resolve); // as when a pipeline into it broke: it takes nothing more
        return;
      }
      this._final = (callback) => this._upload.end(error, callback);
      super.end(resolve);
    });
  }
}

function plain(chunk) {
  return typeof chunk === "string" || chunk instanceof Uint8Array ? chunk : JSON.stringify(chunk);
}

/** For function URLs and API Gateway: status, headers and cookies, ahead of the body. */
class HttpResponseStream {
  static from(stream, prelude) {
    stream.setContentType(FOR_HTTP);
    const text = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(SEPARATOR);
    };
    return stream;
  }
}

module.exports = { HttpResponseStream, ResponseStream, manner, streamifyResponse };
