// A second reader of the log, written from docs/log-format.md alone. It shares no code with Oncelog.
// Usage: node reader.mjs FOLDER, where FOLDER mirrors the bucket (aws s3 sync s3://oncelog FOLDER).
// Prints one JSON object: counts, the state of each aggregate as a digest, and findings. Exit code 1 if there are any.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";

const folder = process.argv[2];
const findings = [];
const report = (where, problem) => findings.push(`${where}: ${problem}`);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

// RFC 8785: members sorted by UTF-16 code units; numbers and strings as ECMAScript writes them.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

function without(value, name) {
  return Object.fromEntries(Object.entries(value).filter(([each]) => each !== name));
}

// Returns the object if it is JSON in canonical form; else reports it and returns null.
function parsed(key) {
  const bytes = readFileSync(join(folder, key));
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (!Buffer.from(canonical(value)).equals(bytes)) report(key, "not in canonical form");
    return value;
  } catch (error) {
    report(key, `not JSON: ${error.message}`);
    return null;
  }
}

function sealed(key, value) {
  if (sha256(canonical(without(value, "checksum"))) === value.checksum) return true;
  report(key, "checksum does not fit the content");
  return false;
}

function keys(prefix) {
  const found = [];
  const walk = (path) => {
    for (const name of readdirSync(path)) {
      const below = join(path, name);
      if (statSync(below).isDirectory()) walk(below);
      else found.push(relative(folder, below).split(sep).join("/"));
    }
  };
  if (existsSync(join(folder, prefix))) walk(join(folder, prefix));
  return found.sort();
}

// Unique values: the entries that a record names for an event, as keys and bytes; what lies there is compared with them.
function entriesOf(record, aggregate, slot, places, more) {
  const own = { entry_version: "1.0.0", aggregate_id: aggregate, slot, command_id: record.command_id, record: record.number, places, ...more };
  const chain = (place) => `unique/${aggregate.split("/", 2).join("/")}/${place.constraint}/${place.sha256}`;
  return (places ?? []).map((place) => [
    `${chain(place)}/${String(place.n).padStart(6, "0")}.json`,
    canonical({ ...own, constraint: place.constraint, sha256: place.sha256, n: place.n }),
  ]);
}

// Records: which slot each command is bound to. A command's hash is that of the command as the record has it.
const bindings = new Set();
const places = new Map(); // by binding, as the last record names them
const named = new Set();
let records = 0;
function bind(record, aggregate, slot, itsPlaces, more) {
  const binding = `${record.command_id} ${record.command_hash} ${aggregate} ${slot}`;
  bindings.add(binding);
  places.set(binding, entriesOf(record, aggregate, slot, itsPlaces, more));
  for (const [key, bytes] of places.get(binding)) named.add(`${key} ${bytes}`);
}
for (const key of keys("commands")) {
  const record = parsed(key);
  if (record === null) continue;
  records += 1;
  if (record.command && sha256(canonical(record.command)) !== record.command_hash) report(key, "command hash is wrong");
  if (record.slot) bind(record, record.aggregate_id, record.slot, record.places, {});
  for (const item of record.bindings ?? []) {
    if (item.slot) bind(record, item.aggregate_id, item.slot, item.places, { chunk: record.chunk, item: item.index });
  }
}
const entries = new Map();
for (const key of keys("unique")) {
  entries.set(key, canonical(parsed(key)));
  if (!named.has(`${key} ${entries.get(key)}`)) report(key, "no record names this entry");
  const number = Number(key.slice(-11, -5));
  const before = `${key.slice(0, -11)}${String(number - 1).padStart(6, "0")}.json`;
  if (number > 1 && !entries.has(before)) report(key, `expected entry ${number - 1} before it: a gap`);
}

// RFC 7396.
function merged(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const result = target !== null && typeof target === "object" && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

// Before version 2.0.0 the type alone said what the data does; class events always have an effect.
const OLD_EFFECTS = { INSTANCE_CREATED: "REPLACE", INSTANCE_UPDATED: "MERGE", INSTANCE_DELETED: "REMOVE" };
const ENDS = ["INSTANCE_DELETED", "CLASS_RETIRED"];

function folded(data, event) {
  const effect = event.effect ?? OLD_EFFECTS[event.event_type];
  if (effect === "MERGE") return merged(data, event.data);
  return effect === "REMOVE" ? {} : event.data;
}

const states = {};
const eventIds = new Map();
const streams = new Map();
for (const key of keys("events")) {
  const match = /^events\/([^/]+\/[^/]+\/[^/]+)\/([0-9]{20})\.json$/.exec(key);
  if (!match) {
    report(key, "names no slot");
    continue;
  }
  const [, aggregate, digits] = match;
  const stream = streams.get(aggregate) ?? { number: 0, checksum: null, data: {}, deleted: false };
  streams.set(aggregate, stream);
  const number = Number(digits);
  if (number !== stream.number + 1) report(key, `expected slot ${stream.number + 1} next: a gap`);
  stream.number = number;
  const event = parsed(key);
  if (event === null || !sealed(key, event)) {
    stream.checksum = event?.checksum ?? undefined;
    continue;
  }
  if (event.aggregate_id !== aggregate || event.sequence_number !== number) report(key, "holds another slot's event");
  const unreserved = encodeURIComponent(event.instance_id).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const instanceKey = [".", ".."].includes(event.instance_id) ? event.instance_id.replaceAll(".", "%2E") : unreserved;
  if (`${event.db_name}/${event.class_id}/${instanceKey}` !== event.aggregate_id) report(key, "identity is not its key's");
  if (event.previous_checksum !== stream.checksum) report(key, "does not follow the event before: the chain is broken");
  if (eventIds.has(event.event_id)) report(key, `event ID is that of ${eventIds.get(event.event_id)}`);
  eventIds.set(event.event_id, key);
  const binding = `${event.command_id} ${event.command_hash} ${aggregate} ${number}`;
  if (records && !bindings.has(binding)) report(key, "no record binds its command to this slot");
  for (const [place, bytes] of places.get(binding) ?? []) {
    if (entries.get(place) !== bytes) report(key, `${place} is not the entry of this event`);
  }
  Object.assign(stream, { checksum: event.checksum, data: folded(stream.data, event), deleted: ENDS.includes(event.event_type) });
  states[aggregate] = { sequence_number: number, deleted: stream.deleted, data_sha256: sha256(canonical(stream.data)) };
}

// The archive: manifests are numbered and chained, and the newest names files by size and digest.
let manifest = null;
for (const key of keys("archive").filter((each) => /\/manifests\/[0-9]{20}\.json$/.test(each))) {
  const before = manifest && key.startsWith(manifest.folder) ? manifest.value : null;
  manifest = { folder: key.slice(0, -25), value: parsed(key) };
  if (manifest.value === null || !sealed(key, manifest.value)) continue;
  if (before && manifest.value.previous_checksum !== before.checksum) report(key, "does not follow the manifest before");
  for (const file of newest(key) ? manifest.value.files : []) {
    try {
      const bytes = readFileSync(join(folder, file.key));
      if (bytes.length !== file.size_bytes || sha256(bytes) !== file.sha256) report(file.key, "is not the file that was written");
    } catch {
      report(file.key, "is named by the manifest and is not there");
    }
  }
}

function newest(key) {
  return keys(key.slice(0, -26)).at(-1) === key;
}

console.log(JSON.stringify({ aggregates: streams.size, events: eventIds.size, records, entries: entries.size, states, findings }));
process.exit(findings.length ? 1 : 0);
