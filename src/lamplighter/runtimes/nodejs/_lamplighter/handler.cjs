"use strict";

// Finds the function by the handler's name (AWS: spec 2.3): folder/file.member.member.

const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const { fault } = require("./faults.cjs");

/** Throws what AWS's runtime reports: a fault, or whatever the function's own module throws. */
async function load(environ, runtimeDirectory, modern) {
  const name = environ._HANDLER ?? "";
  if (name.includes("..")) {
    throw fault(
      "MalformedHandlerName",
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const file = path.basename(name);
  const folder = name.slice(0, name.indexOf(file));
  const dot = file.indexOf(".");
  if (dot < 0) throw fault("MalformedHandlerName", "Bad handler");
  const find = new Finder(environ, runtimeDirectory, folder, file.slice(0, dot));
  const found = member(await loaded(find, modern), file.slice(dot + 1), modern);
  if (!found) throw fault("HandlerNotFound", `${name} is undefined or not exported`);
  if (typeof found !== "function") throw fault("HandlerNotFound", `${name} is not a function`);
  return found;
}

async function loaded(find, modern) {
  try {
    return await (modern ? find.modern() : find.classic());
  } catch (error) {
    if (error instanceof SyntaxError) {
      const refusal = fault("UserCodeSyntaxError", String(error));
      if (modern) refusal.stack = error.stack;
      throw refusal;
    }
    if (error?.code === "MODULE_NOT_FOUND") throw fault("ImportModuleError", String(error));
    throw error;
  }
}

/** What `path` of members leads to; from Node.js 24 on in the default export, too. */
function member(module, names, modern) {
  const inner = (value, name) => (modern && typeof value !== "object" ? undefined : value && value[name]);
  const from = (object) => names.split(".").reduce(inner, object);
  return from(module) || (modern && typeof module === "object" && module !== null ? from(module.default) : undefined);
}

class Finder {
  constructor(environ, runtimeDirectory, folder, name) {
    this._root = environ.LAMBDA_TASK_ROOT;
    this._folder = folder;
    this._name = name;
    this._file = path.resolve(this._root, folder, name);
    const layers = environ.LAMPLIGHTER_OPT; // without isolation, layers are where the host has them
    if (layers && environ.NODE_PATH) {
      environ.NODE_PATH = environ.NODE_PATH.replace(/(^|:)\/opt(?=\/)/g, `$1${layers}`);
      Module._initPaths();
    }
    // Named in the stack of an import that fails, as AWS's own file is.
    this._require = Module.createRequire(path.join(runtimeDirectory, "index.mjs"));
  }

  /** Up to Node.js 22: CommonJS, unless the file says that it is an ES module. */
  async classic() {
    const isModule = this._exists(".js") && declaresModule(path.dirname(this._file));
    return (
      this._required("") ||
      (isModule ? await this._imported(".js") : this._required(".js")) ||
      (await this._imported(".mjs")) ||
      this._required(".cjs") ||
      this._fromPackages([this._root, this._folder])
    );
  }

  /** From Node.js 24 on everything is imported, and Node.js says what it is. */
  async modern() {
    for (const extension of ["", ".js", ".mjs", ".cjs"]) {
      const found = await this._imported(extension);
      if (found) return found;
    }
    return this._fromPackages([this._root, path.join(this._root, this._folder)]);
  }

  _exists(extension) {
    return fs.existsSync(this._file + extension);
  }

  _required(extension) {
    return this._exists(extension) ? this._require(this._file + extension) : undefined;
  }

  async _imported(extension) {
    return this._exists(extension) ? await import(pathToFileURL(this._file + extension).href) : undefined;
  }

  _fromPackages(paths) {
    return this._require(this._require.resolve(this._name, { paths }));
  }
}

/** What the nearest package.json says of a folder's .js files. */
function declaresModule(folder) {
  if (folder.endsWith("/node_modules")) return false;
  const file = path.join(folder, "package.json");
  if (fs.existsSync(file)) {
    try {
      return JSON.parse(fs.readFileSync(file))?.type === "module";
    } catch (error) {
      console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return folder !== "/" && declaresModule(path.dirname(folder));
}

module.exports = { load };
