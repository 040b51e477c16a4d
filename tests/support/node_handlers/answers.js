"use strict";

const circular = { name: "circular" };
circular.self = circular;

class Plain {
  constructor() {
    this.own = 1;
  }
  get inherited() {
    return 2;
  }
}

const cases = {
  nothing: () => undefined,
  null_itself: () => null,
  echo: (event) => event,
  scalars: () => [0, -0, 1.5, 1e21, 1e-7, true, false, "", null],
  text: () => "plain",
  empty_text: () => "",
  unicode: () => "grüß dich ☃ \u{1f600} \u2028 \x00 \x7f",
  lone_surrogate: () => "\ud800",
  no_numbers: () => [NaN, Infinity, -Infinity],
  undefined_inside: () => ({ a: undefined, b: [undefined], c: () => 1, d: Symbol("s") }),
  date: () => new Date(0),
  own_json: () => ({ toJSON: () => ({ instead: true }) }),
  buffer: () => Buffer.from("abc"),
  typed_array: () => new Uint8Array([1, 2]),
  map_and_set: () => [new Map([["a", 1]]), new Set([1])],
  class_instance: () => new Plain(),
  an_error: () => new Error("as a value"),
  promise_of_promise: () => Promise.resolve(Promise.resolve("inner")),
  promise_inside: () => ({ inside: Promise.resolve(1) }),
  proxy_answer: () => ({ statusCode: 200, headers: { "Content-Type": "text/plain" }, body: '{"a": 1}' }),
  bigint: () => 1n,
  circular: () => circular,
  a_function: () => () => 1,
  a_symbol: () => Symbol("answer"),
  json_that_throws: () => ({
    toJSON() {
      throw new RangeError("not today");
    },
  }),
  deep: () => {
    let value = 1;
    for (let i = 0; i < 100; i++) value = [value];
    return value;
  },
  large: () => "x".repeat(300000),
  local_time: () => [new Date(0).getHours(), process.env.TZ],
  later: () => new Promise((resolve) => setTimeout(() => resolve("late"), 5)),
  number_of_arguments: function () {
    return arguments.length >= 2;
  },
  working_directory: () => process.cwd() === process.env.LAMBDA_TASK_ROOT,
  main_module: () => [require.main === undefined, typeof require, typeof module],
  globals: () => [typeof awslambda.streamifyResponse, typeof awslambda.HttpResponseStream.from, typeof fetch],
};

exports.handler = async (event, context) => cases[event.case](event, context);

exports.thenable = (event) => ({ then: (resolve) => resolve({ thenable: event.case }) });

exports.nested = { deeper: { handler: async () => "nested" } };

exports.number = 7;

exports.default_parameter = async (event = {}, context = {}) => typeof context.awsRequestId;
