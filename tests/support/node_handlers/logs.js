"use strict";

const circular = { a: 1 };
circular.self = circular;

class OwnError extends Error {}

const cases = {
  levels: () => {
    for (const level of ["trace", "debug", "info", "log", "warn", "error", "fatal"]) console[level](`at ${level}`);
  },
  formats: () => {
    console.log("%s is %d of %j and %o %%", "this", 1.5, { a: 1 }, [1], "more", { b: 2 });
    console.log("no placeholders", 1, true, null, undefined, Symbol("s"), 5n);
    console.log({ a: { b: { c: { d: 1 } } } }, [1, [2, [3]]], new Map([[1, 2]]), new Date(0));
  },
  alone: () => {
    console.log({ a: 1 });
    console.log([1, "two"]);
    console.log("text");
    console.log(7);
    console.log(null);
    console.log(undefined);
    console.log();
    console.log(5n);
    console.log(() => 1);
    console.log(Buffer.from("ab"));
  },
  lines: () => {
    console.log("first\nsecond\r\nthird");
    console.log("");
  },
  unicode: () => console.log("grüß ☃ \u{1f600}"),
  errors: () => {
    console.error(new Error("alone"));
    console.error("with text", new OwnError("after"));
    console.error(new TypeError("before"), "with text");
    console.error({ inside: new Error("inside") });
    const error = new Error("with members");
    error.code = "E_CODE";
    console.error(error);
  },
  circular: () => {
    console.log(circular);
    console.log("circular", circular);
  },
  streams: () => {
    process.stdout.write("raw out\n");
    process.stderr.write("raw err\n");
  },
  after: () => {
    setImmediate(() => console.log("after the answer"));
  },
};

console.log("while loading");

exports.handler = async (event) => {
  cases[event.case]();
};
