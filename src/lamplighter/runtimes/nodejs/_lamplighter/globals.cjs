"use strict";

// What the runtime gives functions as `awslambda`, unless they ask not to have it.

const { HttpResponseStream, streamifyResponse } = require("./streams.cjs");

const UNWANTED = ["1", "true"];
const KEYS = {
  REQUEST_ID: Symbol.for("_AWS_LAMBDA_REQUEST_ID"),
  X_RAY_TRACE_ID: Symbol.for("_AWS_LAMBDA_X_RAY_TRACE_ID"),
  TENANT_ID: Symbol.for("_AWS_LAMBDA_TENANT_ID"),
};

/** Values that belong to the invocation in hand; libraries such as AWS's SDK look here. */
class InvokeStore {
  static PROTECTED_KEYS = KEYS;

  getContext() {
    return this._values;
  }

  hasContext() {
    return this._values !== undefined;
  }

  get(key) {
    return this._values?.[key];
  }

  set(key, value) {
    if (this.isProtectedKey(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    this._values = { ...this._values, [key]: value };
  }

  isProtectedKey(key) {
    return Object.values(KEYS).includes(key);
  }

  getRequestId() {
    return this.get(KEYS.REQUEST_ID) ?? "-";
  }

  getXRayTraceId() {
    return this.get(KEYS.X_RAY_TRACE_ID);
  }

  getTenantId() {
    return this.get(KEYS.TENANT_ID);
  }

  run(values, work) {
    this._values = values;
    return work();
  }
}

const store = new InvokeStore();

function define(environ, modern) {
  if (UNWANTED.includes(environ.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = { streamifyResponse, HttpResponseStream };
  if (modern) globalThis.awslambda.InvokeStore = store;
}

/** Run `work` as the invocation of this event. */
function within(event, work) {
  const values = {
    [KEYS.REQUEST_ID]: event.requestId,
    [KEYS.X_RAY_TRACE_ID]: event.headers["lambda-runtime-trace-id"],
    [KEYS.TENANT_ID]: event.headers["lambda-runtime-aws-tenant-id"],
  };
  return store.run(values, work);
}

module.exports = { define, within };
