// Starts @vercel/cosmosdb-server on a port, and makes up for what it lacks.
//
//     node cosmos_emulator.js MODULE PORT
//
// - A point read of a document that is not there crashes its check of the partition key: here it is a 404.
// - It closes every connection after one answer: here it keeps them.
// - It has one consistency level and one replica. PUT /_control with JSON sets how the account looks and behaves from
//   then on; every field is optional: "level", the default consistency level; "multiple", whether it takes writes in
//   several regions; "regions", how many it has; "behind", true to let reads come from a replica that has heard of
//   nothing since, until "settle"; "documents", how many it says a container has; "refuse", {"status", "substatus",
//   "message", "method", "times", "everywhere"} to answer some requests with an error (those for documents only,
//   unless everywhere).
// - GET /_control gives the requests since it was last asked, as [method, path, the level that was asked for].
"use strict";

const [modulePath, port] = process.argv.slice(2);
const { createHttpServer } = require(modulePath);

const server = createHttpServer({ keepAlive: true });
const [serve] = server.listeners("request");
server.removeAllListeners("request");

let look = { level: "Session", multiple: false, regions: 1, refuse: null };
let log = [];
let replica = null; // the bodies of documents by path, as a replica that is behind has them
const seen = new Map(); // the same as of now

server.on("request", (req, res) => {
  if (req.url === "/_control") return control(req, res);
  log.push([req.method, decodeURIComponent(req.url), req.headers["x-ms-consistency-level"] || null]);
  if (refused(req, res)) return undefined;
  const isDocument = /\/docs\/[^/]+\/?$/.test(req.url);
  if (req.method === "GET" && isDocument) {
    if (replica !== null) return answerFrom(replica.get(req.url), res);
    req.headers["x-ms-documentdb-query-enablecrosspartition"] = "true";
  }
  if (req.url === "/") return account(req, res);
  if (look.documents && req.headers["x-ms-documentdb-populatequotainfo"]) {
    res.setHeader("x-ms-resource-usage", `functions=0;documentsSize=1;documentsCount=${look.documents};collectionSize=1`);
  }
  if (isDocument || req.method === "POST") remember(req, res, isDocument);
  return serve(req, res);
});

function control(req, res) {
  if (req.method === "GET") {
    res.end(JSON.stringify(log));
    log = [];
    return;
  }
  let text = "";
  req.on("data", chunk => (text += chunk));
  req.on("end", () => {
    const asked = JSON.parse(text);
    if (asked.behind) replica = new Map(seen);
    if (asked.settle) replica = null;
    look = { ...look, ...asked };
    res.end("{}");
  });
}

function refused(req, res) {
  const { refuse } = look;
  if (!refuse || refuse.times === 0 || (refuse.method && refuse.method !== req.method)) return false;
  if (!refuse.everywhere && !req.url.includes("/docs")) return false;
  refuse.times -= 1;
  res.statusCode = refuse.status;
  if (refuse.substatus) res.setHeader("x-ms-substatus", String(refuse.substatus));
  res.setHeader("x-ms-retry-after-ms", "30000");
  res.setHeader("content-type", "application/json");
  res.end(JSON.stringify({ code: String(refuse.status), message: refuse.message || "refused by the test" }));
  return true;
}

function account(req, res) {
  const end = res.end.bind(res);
  res.end = text => {
    const body = JSON.parse(text);
    const regions = [...Array(look.regions).keys()].map(number => ({
      name: `Region ${number}`,
      databaseAccountEndpoint: `http://127.0.0.1:${port}/`
    }));
    body.readableLocations = regions;
    body.writableLocations = look.multiple ? regions : regions.slice(0, 1);
    body.enableMultipleWriteLocations = look.multiple;
    body.userConsistencyPolicy = { defaultConsistencyLevel: look.level };
    end(JSON.stringify(body));
  };
  serve(req, res);
}

function remember(req, res, isDocument) {
  const end = res.end.bind(res);
  res.end = text => {
    const body = res.statusCode < 300 && text ? JSON.parse(text) : null;
    if (body && body._etag && body.id) {
      const path = isDocument ? req.url : `${req.url.replace(/\/$/, "")}/${encodeURIComponent(body.id)}/`;
      seen.set(path, text);
    }
    end(text);
  };
}

function answerFrom(text, res) {
  res.statusCode = text === undefined ? 404 : 200;
  res.setHeader("content-type", "application/json");
  res.setHeader("x-ms-request-charge", "1");
  res.end(text === undefined ? "{}" : text);
}

server.listen(Number(port), "127.0.0.1");
