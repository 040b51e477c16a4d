"use strict";

const later = (action, time = 10) => setTimeout(action, time);

const cases = {
  value: (event, context, callback) => callback(null, { a: 1 }),
  nothing: (event, context, callback) => callback(),
  error: (event, context, callback) => callback(new Error("called back")),
  text_as_error: (event, context, callback) => callback("called back"),
  object_as_error: (event, context, callback) => callback({ a: 1 }),
  later_value: (event, context, callback) => {
    later(() => callback(null, "later"));
  },
  waits: (event, context, callback) => {
    later(() => console.log("the loop ran on"));
    callback(null, "waited");
  },
  does_not_wait: (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    const timer = setInterval(() => {}, 1000);
    timer.unref();
    callback(null, "at once");
  },
  flag: (event, context, callback) => callback(null, context.callbackWaitsForEmptyEventLoop),
  twice: (event, context, callback) => {
    callback(null, "first");
    callback(null, "second");
  },
  twice_without_waiting: (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    callback(null, "first");
    context.succeed("second");
  },
  done: (event, context) => context.done(null, "done"),
  done_with_error: (event, context) => context.done(new Error("done with")),
  succeed: (event, context) => context.succeed("succeeded"),
  fail: (event, context) => context.fail(new Error("failed")),
  fail_with_text: (event, context) => context.fail("failed"),
  fail_with_nothing: (event, context) => context.fail(),
  returns_without_answer: () => "ignored",
  never_answers: () => undefined,
  throws: () => {
    throw new Error("thrown");
  },
  throws_null: () => {
    throw null;
  },
  promise_and_callback: async (event, context, callback) => {
    callback(null, "by callback");
    return "by promise";
  },
  promise_that_never_settles: () => new Promise(() => {}),
  error_then_value: (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    context.fail(new Error("first"));
    callback(null, "second");
  },
  done_unserialisable: (event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    callback(null, 1n);
  },
};

exports.handler = (event, context, callback) => cases[event.case](event, context, callback);
