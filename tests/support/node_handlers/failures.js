"use strict";

const library = require("library");

class OwnError extends Error {}
class NamedError extends Error {
  constructor(message) {
    super(message);
    this.name = "Custom.Name";
    this.code = "E_CODE";
    this.details = { a: [1] };
  }
}

const cases = {
  error: () => {
    throw new Error("boom");
  },
  type_error: () => null.property,
  reference_error: () => nowhere,
  own_class: () => {
    throw new OwnError("own");
  },
  own_name: () => {
    throw new NamedError("named");
  },
  without_text: () => {
    throw new Error();
  },
  lines: () => {
    throw new Error("first\nsecond");
  },
  unicode: () => {
    throw new Error("grüß ☃ \u{1f600}");
  },
  delete_character: () => {
    throw new Error("a\x7fb");
  },
  with_cause: () => {
    throw new Error("outer", { cause: new Error("inner") });
  },
  aggregate: () => {
    throw new AggregateError([new Error("one"), new Error("two")], "both");
  },
  text: () => {
    throw "just text";
  },
  number: () => {
    throw 42;
  },
  object: () => {
    throw { a: 1 };
  },
  looks_like_an_error: () => {
    throw { name: "Name", message: "message", stack: "stack\n  at nowhere" };
  },
  without_prototype: () => {
    throw Object.create(null);
  },
  nothing: () => Promise.reject(),
  null_itself: () => Promise.reject(null),
  without_stack: () => {
    const error = new Error("stackless");
    error.stack = undefined;
    throw error;
  },
  hostile: () => {
    const error = new Error("hostile");
    Object.defineProperty(error, "message", {
      get() {
        throw new Error("no");
      },
    });
    throw error;
  },
  circular: () => {
    const error = new Error("circular");
    error.self = error;
    throw error;
  },
  library: () => library.fail(),
  later: async () => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    throw new Error("later");
  },
};

exports.handler = async (event) => cases[event.case](event);

exports.sync = (event) => cases[event.case](event);
