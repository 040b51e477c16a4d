"use strict";

const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");

const streamed = (handler, options) => awslambda.streamifyResponse(handler, options);

exports.simple = streamed(async (event, stream, context) => {
  stream.setContentType("text/plain");
  stream.write("one ");
  stream.write(Buffer.from("two "));
  stream.write(context.awsRequestId === undefined ? "no context" : "three");
  stream.end();
});

exports.end_with_data = streamed(async (event, stream) => {
  stream.write("begin ");
  stream.end("end");
});

exports.empty = streamed(async (event, stream) => stream.end() && undefined);

exports.objects = streamed(async (event, stream) => {
  stream.write({ a: 1 });
  stream.write([2]);
  stream.end();
});

exports.piped = streamed(async (event, stream) => {
  await pipeline(Readable.from(["a", "b", "c"]), stream);
});

exports.slowly = streamed(async (event, stream) => {
  for (let i = 0; i < 3; i++) {
    stream.write(`${i};`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stream.end();
});

exports.http = streamed(async (event, stream) => {
  const metadata = { statusCode: 201, headers: { "X-Own": "yes" }, cookies: ["a=1"] };
  stream = awslambda.HttpResponseStream.from(stream, metadata);
  stream.write("<p>hello</p>");
  stream.end();
});

exports.large = streamed(
  async (event, stream) => {
    for (let i = 0; i < 20; i++) {
      if (!stream.write("x".repeat(20000))) await new Promise((resolve) => stream.once("drain", resolve));
    }
    stream.end();
  },
  { highWaterMark: 1024 },
);

exports.throws_first = streamed(async () => {
  throw new Error("before a byte");
});

exports.throws_late = streamed(async (event, stream) => {
  stream.write("so far");
  await new Promise((resolve) => setTimeout(resolve, 5));
  throw new TypeError("in the middle");
});

exports.not_async = streamed((event, stream) => {
  stream.write("sync");
});

exports.returns = streamed(async (event, stream) => {
  stream.write("text");
  stream.end();
  return "ignored";
});

exports.content_type_too_late = streamed(async (event, stream) => {
  stream.write("text");
  stream.setContentType("text/html");
});

exports.wrongly_marked = async () => {};
exports.wrongly_marked[Symbol.for("aws.lambda.runtime.handler.streaming")] = "request";
