"use strict";

const cases = {
  exit: (event) => process.exit(event.code),
  abort: () => process.abort(),
  signal: (event) => process.kill(process.pid, event.name),
  uncaught: () => {
    setTimeout(() => {
      throw new Error("from a timer");
    }, 1);
    return new Promise((resolve) => setTimeout(resolve, 500));
  },
  uncaught_text: () => {
    setTimeout(() => {
      throw "text from a timer";
    }, 1);
    return new Promise((resolve) => setTimeout(resolve, 500));
  },
  rejection: () => {
    Promise.reject(new Error("nobody handles this"));
    return new Promise((resolve) => setTimeout(resolve, 500));
  },
  rejection_with_text: () => {
    Promise.reject("only text");
    return new Promise((resolve) => setTimeout(resolve, 500));
  },
};

exports.handler = async (event) => cases[event.case](event);

exports.unserialisable = (event, context, callback) => callback(null, 1n);
