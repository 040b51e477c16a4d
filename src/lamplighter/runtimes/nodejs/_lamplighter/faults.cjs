"use strict";

// Errors as the service, the log and X-Ray are told of them (AWS: spec 2.3), and those that are the runtime's own.

const { types } = require("node:util");

let modern = false;

/** Which of the two generations of AWS's runtimes the forms are of; they differ in details. */
function useModernForms(yes) {
  modern = yes;
}

/** An error of the runtime's own; its type is `Runtime.` and the kind. */
function fault(kind, message) {
  const Fault = class extends Error {};
  Object.defineProperty(Fault, "name", { value: kind });
  if (!modern) Fault.prototype.name = `Runtime.${kind}`; // and so its stack begins with it
  const made = new Fault(message);
  if (modern) made.name = `Runtime.${kind}`;
  return made;
}

/** A promise that nobody handles: its reason and itself are part of what the log shows. */
function unhandledRejection(reason, promise) {
  const error = fault("UnhandledPromiseRejection", reason);
  error.reason = reason;
  error.promise = promise;
  return error;
}

/** What is posted for a thrown value: {errorType, errorMessage, trace}. */
function payload(thrown) {
  try {
    if (modern ? thrown instanceof Error : types.isNativeError(thrown) || looksLikeAnError(thrown)) {
      return {
        errorType: visible(thrown.name),
        errorMessage: visible(thrown.message),
        trace: modern ? (visible(thrown.stack)?.split("\n") ?? []) : visible(thrown.stack).split("\n"),
      };
    }
    return {
      errorType: typeof thrown,
      errorMessage: modern ? String(thrown) : thrown.toString(),
      trace: [],
    };
  } catch {
    // A getter that throws, an object without a text.
    const nothing = {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, " +
        "name, and stack",
    };
    return modern ? { ...nothing, trace: [] } : nothing;
  }
}

function looksLikeAnError(thrown) {
  const texts = thrown && [thrown.name, thrown.message, thrown.stack];
  return Boolean(texts) && texts.every((text) => typeof text === "string" && text !== "");
}

/** The runtime's proxies don't take the character DEL. */
function visible(text) {
  return text?.replace(/\x7f/g, "%7F");
}

/** The cause for X-Ray as JSON text; empty if there is none to be made. */
function cause(thrown) {
  try {
    const stack = frames(thrown.stack);
    return JSON.stringify({
      working_directory: process.cwd(),
      exceptions: [{ type: visible(thrown.name), message: visible(thrown.message), stack }],
      paths: [...new Set(stack.map((frame) => frame.path))],
    });
  } catch {
    return "";
  }
}

/** "    at label (path:line:column)", or without the label and the parentheses. */
function frames(stack) {
  if (!stack) return [];
  const lines = visible(stack).split("\n").slice(1);
  return lines.map((line) => {
    const words = line.trim().replace(/[()]/g, "");
    const place = words.slice(words.indexOf(" ") + 1);
    const space = place.lastIndexOf(" ");
    const [path, number] = place.slice(space + 1).split(":");
    return { path, line: parseInt(number, 10), label: (space > 0 && place.slice(0, space)) || "anonymous" };
  });
}

/** For a line of the log in text form. */
function logText(thrown) {
  const error = asError(thrown);
  try {
    return "\t" + JSON.stringify(error, (_, value) => (value instanceof Error ? members(value) : value));
  } catch {
    return "\t" + JSON.stringify(payload(error));
  }
}

function members(error) {
  const shown = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === "string") shown.stack = error.stack.split("\n");
  return shown;
}

function asError(thrown) {
  if (thrown instanceof Error) return thrown;
  return new Error(modern ? String(thrown) : thrown);
}

module.exports = { asError, cause, fault, logText, payload, unhandledRejection, useModernForms };
