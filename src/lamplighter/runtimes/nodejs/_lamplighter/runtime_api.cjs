"use strict";

// The Runtime API over one kept-alive connection (AWS: spec 3.3).
//
// An answer and the request for the next event leave in one write, and the service may answer both in one go. While a
// function runs, the connection doesn't keep the event loop alive: an empty loop means something to callback handlers.
// Nothing here has a time-out: waiting for work is what a runtime does, and the service ends the process when it is no
// longer wanted.

const net = require("node:net");

const ROOT = "/2018-06-01/runtime/";
const ALONE_FROM = 128 * 1024; // bytes; a larger answer may be refused for its size, so nothing is sent along with it
const CAUSE_LIMIT = 1024 * 1024;
const END_OF_HEAD = Buffer.from("\r\n\r\n");

class RuntimeApi {
  constructor(address) {
    const colon = address.lastIndexOf(":");
    this._host = address;
    this._unsent = []; // an answer that waits for `next` or `flush`
    this._replies = []; // callbacks, one for each request on its way
    this._reader = new ReplyReader((reply) => this._replies.shift()(reply));
    this._socket = net.connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
    this._socket.setNoDelay(true);
    this._socket.on("data", (data) => this._reader.read(data));
    this._socket.on("error", (error) => this._lost(error.message));
    this._socket.on("close", () => this._lost("it was closed"));
  }

  /** Send what was answered, wait for the next event: {requestId, headers, body}, header names in lower case. */
  async next() {
    if (this._unsent.reduce((size, part) => size + part.length, 0) > ALONE_FROM) await this.flush();
    this._socket.ref();
    const reply = await this._send([...this._unsent.splice(0), `GET ${ROOT}invocation/next ${this._head("")}\r\n`]);
    this._socket.unref();
    if (reply.status !== 200) this._lost(`the next event was refused with status ${reply.status}`);
    return { requestId: reply.headers["lambda-runtime-aws-request-id"], headers: reply.headers, body: reply.body };
  }

  /** Goes out with the following `next`, or with `flush`. */
  answer(event, body) {
    this._unsent = this._post(`invocation/${event.requestId}/response`, body, this._delivery(event));
    this._expectAcknowledgement();
  }

  /** Likewise. `cause`: for X-Ray, left out if it is too large. */
  answerError(event, body, cause) {
    let headers = this._delivery(event);
    if (cause && Buffer.byteLength(cause) < CAUSE_LIMIT) {
      headers += `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n`;
    }
    this._unsent = this._post(`invocation/${event.requestId}/error`, body, headers);
    this._expectAcknowledgement();
  }

  /** Resolves when it has been taken. */
  async failInit(body, kind) {
    this._socket.ref();
    await this._send(this._post("init/error", body, `Lambda-Runtime-Function-Error-Type: ${oneLine(kind)}\r\n`));
  }

  /** Send what was answered; resolves when it has been taken. */
  async flush() {
    if (this._unsent.length === 0) return;
    this._socket.ref();
    const taken = new Promise((resolve) => {
      const last = this._replies.length - 1;
      this._replies[last] = resolve;
    });
    this._write(this._unsent.splice(0));
    await taken;
  }

  /** An answer whose body comes in pieces. It keeps the event loop alive until it is taken. */
  stream(event) {
    this._socket.ref();
    return new Upload(this, event);
  }

  _send(parts) {
    return new Promise((resolve) => {
      this._replies.push(resolve);
      this._write(parts);
    });
  }

  _write(parts, callback) {
    if (parts.length === 1) {
      this._socket.write(parts[0], callback);
      return;
    }
    this._socket.cork();
    parts.forEach((part, index) => this._socket.write(part, index === parts.length - 1 ? callback : undefined));
    this._socket.uncork();
  }

  /** What the service says to an answer changes nothing here: it knows what to do with the invocation. */
  _expectAcknowledgement() {
    this._replies.push(() => {});
  }

  _post(path, body, headers) {
    const content = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
    return [`POST ${ROOT}${path} ${this._head(headers + content)}\r\n`, body];
  }

  _head(headers) {
    return `HTTP/1.1\r\nHost: ${this._host}\r\n${headers}`;
  }

  _delivery(event) {
    const delivery = event.headers["lambda-runtime-invocation-id"];
    return delivery ? `Lambda-Runtime-Invocation-Id: ${delivery}\r\n` : "";
  }

  _lost(why) {
    process.stderr.write(`The Runtime API is lost: ${why}\n`);
    process.exit(1);
  }
}

/** The body of a streamed answer, on the Runtime API's connection. `taken` resolves with the service's reply. */
class Upload {
  constructor(api, event) {
    this._api = api;
    this._event = event;
    this._reply = undefined;
    this.started = false;
    this.ended = false;
    this.taken = new Promise((resolve) => (this._reply = resolve));
  }

  start(contentType) {
    this.started = true;
    this._api._replies.push((reply) => {
      this._api._socket.unref();
      this._reply(reply);
    });
    const headers =
      this._api._delivery(this._event) +
      "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n" +
      "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n" +
      `Content-Type: ${oneLine(contentType)}\r\n`;
    this._api._write([`POST ${ROOT}invocation/${this._event.requestId}/response ${this._api._head(headers)}\r\n`]);
  }

  /** `chunk`: a Buffer. */
  write(chunk, callback) {
    if (chunk.length === 0) {
      callback(); // an empty chunk would be the end
      return;
    }
    this._api._write([`${chunk.length.toString(16)}\r\n`, chunk, "\r\n"], callback);
  }

  /** `error`: how it broke off, {errorType, …}; undefined: it is complete. */
  end(error, callback) {
    this.ended = true;
    let trailers = "";
    if (error !== undefined) {
      trailers =
        `Lambda-Runtime-Function-Error-Type: ${oneLine(String(error.errorType))}\r\n` +
        `Lambda-Runtime-Function-Error-Body: ${Buffer.from(JSON.stringify(error)).toString("base64")}\r\n`;
    }
    this._api._write([`0\r\n${trailers}\r\n`], callback);
  }
}

/** Takes replies apart as their bytes come, however they are cut: {status, headers, body}. */
class ReplyReader {
  constructor(onReply) {
    this._onReply = onReply;
    this._pieces = [];
    this._size = 0;
    this._wanted = 1; // bytes until another look is worth it
    this._head = undefined;
  }

  read(data) {
    this._pieces.push(data);
    this._size += data.length;
    while (this._size > 0 && this._size >= this._wanted) {
      if (!this._look(this._pieces.length === 1 ? this._pieces[0] : Buffer.concat(this._pieces))) return;
    }
  }

  /** False: more is needed. */
  _look(data) {
    if (this._head === undefined) {
      const end = data.indexOf(END_OF_HEAD);
      if (end < 0) return this._keep(data, data.length + 1);
      this._head = parseHead(data.toString("utf8", 0, end));
      data = data.subarray(end + END_OF_HEAD.length);
    }
    if (this._head.status < 200) {
      this._head = undefined;
      return this._keep(data, 1) || data.length > 0;
    }
    if ((this._head.headers["transfer-encoding"] ?? "").toLowerCase().includes("chunked")) {
      const found = parseChunks(data);
      if (found === undefined) return this._keep(data, data.length + 1);
      return this._finish(found.body, found.rest);
    }
    const length = Number(this._head.headers["content-length"] ?? 0);
    if (data.length < length) return this._keep(data, length);
    return this._finish(data.subarray(0, length), data.subarray(length));
  }

  _keep(data, wanted) {
    this._pieces = data.length > 0 ? [data] : [];
    this._size = data.length;
    this._wanted = wanted;
    return false;
  }

  _finish(body, rest) {
    const reply = { ...this._head, body };
    this._head = undefined;
    this._keep(rest, 1);
    this._onReply(reply);
    return true;
  }
}

function parseHead(text) {
  const lines = text.split("\r\n");
  const headers = {};
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(lines[0].split(" ")[1]), headers };
}

/** The whole body and what follows it; undefined while it is not complete. */
function parseChunks(data) {
  const chunks = [];
  let position = 0;
  for (;;) {
    const end = data.indexOf("\r\n", position);
    if (end < 0) return undefined;
    const size = parseInt(data.toString("latin1", position, end), 16);
    if (size === 0) break;
    if (data.length < end + 2 + size + 2) return undefined;
    chunks.push(data.subarray(end + 2, end + 2 + size));
    position = end + 2 + size + 2;
  }
  const end = data.indexOf(END_OF_HEAD, position); // after the trailers, if there are any
  if (end < 0) return undefined;
  return { body: Buffer.concat(chunks), rest: data.subarray(end + END_OF_HEAD.length) };
}

/** A function's text as a header's value: it must not begin another header. */
function oneLine(text) {
  return String(text).replace(/[^\x20-\x7e]/g, "?");
}

module.exports = { ReplyReader, RuntimeApi };
