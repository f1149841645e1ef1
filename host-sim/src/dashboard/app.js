// Everything shown is put in as text: what clients send cannot become markup.
"use strict";

const $ = (selector, from = document) => from.querySelector(selector);
const PERIOD = 1000, WINDOW = 10, MINUTE = 60;
let history = [], paused = false, tables = null, generation = null;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function row(cells) {
  const made = element("tr");
  for (const cell of cells) {
    const one = element("td", cell.node ? undefined : cell.text, { "data-label": cell.label });
    if (cell.kind) one.className = cell.kind;
    if (cell.node) one.append(cell.node);
    made.append(one);
  }
  return made;
}

function fill(section, rows) {
  const where = $(section);
  where.classList.toggle("full", rows.length > 0);
  $("tbody", where).replaceChildren(...rows);
}

const number = (value) => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(value > 0 ? 2 : 0);
// The first look has nothing to compare with.
const perSecond = (count, passed) => history.length > 1 ? number(count / passed) : "–";
const millis = (value) => value === null ? "–" : value >= 1000 ? `${(value / 1000).toFixed(2)} s` : value < 1 ? "<1 ms" : `${value.toFixed(0)} ms`;
const remaining = (seconds) => seconds < 1 ? millis(seconds * 1000) : seconds < 60 ? `${seconds.toFixed(0)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
const short = (cluster) => {
  const parts = cluster.split("|");
  if (parts.length !== 4) return cluster || "(answered by the gateway)";
  const host = parts[3].includes(".svc.") ? parts[3].split(".")[0] : parts[3];
  return parts[2] ? `${host}/${parts[2]}` : host;
};
const since = (seconds) => seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;

// Sums of one snapshot by a key.
function sums(snapshot, keyOf) {
  const all = new Map();
  for (const one of snapshot ? snapshot.traffic : []) {
    const key = keyOf(one);
    const sum = all.get(key) || { one, requests: 0, e4: 0, e5: 0, bins: new Map() };
    sum.requests += one.requests;
    if (one.status >= 400 && one.status < 500) sum.e4 += one.requests;
    if (one.status >= 500 || one.status === 0) sum.e5 += one.requests;
    for (const [value, count] of one.bins) sum.bins.set(value, (sum.bins.get(value) || 0) + count);
    all.set(key, sum);
  }
  return all;
}

function quantile(bins, share) {
  const sorted = [...bins.entries()].filter(([, count]) => count > 0).sort((a, b) => a[0] - b[0]);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  for (const [value, count] of sorted) {
    seen += count;
    if (seen >= share * total) return value;
  }
  return null;
}

function between(old, now) {
  if (!old) return now;
  const bins = new Map();
  for (const [value, count] of now.bins) bins.set(value, count - (old.bins.get(value) || 0));
  return { one: now.one, requests: now.requests - old.requests, e4: now.e4 - old.e4, e5: now.e5 - old.e5, bins };
}

function ago(seconds) {
  const now = history[history.length - 1];
  let found = history[0];
  for (const snapshot of history) if (now.now - snapshot.now >= seconds) found = snapshot;
  return found;
}

function spark(keyOf, key, label) {
  const points = [];
  for (let at = 1; at < history.length; at++) {
    const [before, after] = [history[at - 1], history[at]];
    const old = sums(before, keyOf).get(key), now = sums(after, keyOf).get(key);
    const passed = Math.max(after.now - before.now, 0.1);
    points.push([(now ? now.requests - (old ? old.requests : 0) : 0) / passed, (now ? now.e5 - (old ? old.e5 : 0) : 0) / passed]);
  }
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 120 26");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const most = Math.max(1e-9, ...points.map(([rate]) => rate));
  const x = (at) => 120 - (points.length - 1 - at) * (120 / MINUTE), y = (value) => 24 - 22 * value / most;
  const line = (which) => points.map((point, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(point[which]).toFixed(1)}`).join("");
  const path = (d, kind) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("d", d);
    if (kind) made.setAttribute("class", kind);
    svg.append(made);
  };
  if (points.length > 1) {
    path(`${line(0)}L120 24L${x(0).toFixed(1)} 24Z`, "area");
    path(line(0));
    if (points.some(([, errors]) => errors > 0)) path(line(1), "errors");
  }
  return svg;
}

const byRoute = (one) => `${one.virtual_host}\n${one.route}\n${one.cluster}`;

function traffic() {
  const now = history[history.length - 1], old = ago(WINDOW);
  const passed = Math.max(now.now - old.now, 0.001);
  const before = sums(old, byRoute), after = sums(now, byRoute);
  const rows = [];
  for (const [key, sum] of [...after.entries()].sort((a, b) => b[1].requests - a[1].requests).slice(0, 200)) {
    const recent = between(history.length > 1 ? before.get(key) : undefined, sum);
    const rate = perSecond(recent.requests, passed);
    const name = sum.one.route || (sum.one.virtual_host ? "(no name)" : "(no route)");
    rows.push(row([
      { label: "Route", text: sum.one.virtual_host ? `${name} · ${sum.one.virtual_host}` : name, kind: "whole" },
      { label: "Destination", text: short(sum.one.cluster) },
      { label: "Last minute", node: spark(byRoute, key, `${name} to ${short(sum.one.cluster)}: ${rate} requests a second`) },
      { label: "req/s", text: rate, kind: "number" },
      { label: "p50", text: millis(quantile(recent.bins, 0.5)), kind: "number" },
      { label: "p95", text: millis(quantile(recent.bins, 0.95)), kind: "number" },
      { label: "p99", text: millis(quantile(recent.bins, 0.99)), kind: "number" },
      { label: "4xx/s", text: perSecond(recent.e4, passed), kind: recent.e4 ? "number warn" : "number" },
      { label: "5xx/s", text: perSecond(recent.e5, passed), kind: recent.e5 ? "number bad" : "number" },
      { label: "All", text: sum.requests, kind: "number" },
    ]));
  }
  fill("#traffic", rows);
  const all = between(history.length > 1 ? sums(old, () => "").get("") : undefined, sums(now, () => "").get("") || { requests: 0, e4: 0, e5: 0, bins: new Map() });
  const put = (id, text, kind) => { const where = $(id); where.textContent = text; where.className = kind || ""; };
  put("#rate", perSecond(all.requests, passed));
  put("#p50", millis(quantile(all.bins, 0.5)));
  put("#p95", millis(quantile(all.bins, 0.95)));
  put("#p99", millis(quantile(all.bins, 0.99)));
  put("#e4", perSecond(all.e4, passed), all.e4 ? "warn" : "");
  put("#e5", perSecond(all.e5, passed), all.e5 ? "bad" : "");
  put("#uptime", since(Math.floor(now.uptime)));
}

function splits() {
  const now = sums(history[history.length - 1], byRoute);
  const parts = [], done = new Set();
  for (const table of tables.listeners) for (const host of table.virtual_hosts) for (const route of host.routes) {
    const key = `${host.name}\n${route.name}`;
    if (route.destinations.length < 2 || done.has(key)) continue;
    done.add(key);
    const weights = route.destinations.reduce((sum, one) => sum + one.weight, 0);
    const counts = route.destinations.map((one) => (now.get(`${key}\n${one.cluster}`) || { requests: 0 }).requests);
    const total = counts.reduce((sum, count) => sum + count, 0);
    parts.push(element("h3", `${route.name} · ${host.name}`));
    route.destinations.forEach((one, at) => {
      const wanted = 100 * one.weight / weights, got = total ? 100 * counts[at] / total : 0;
      const bar = element("div", undefined, { class: "bar", "aria-hidden": "true" });
      const share = element("i"), mark = element("b");
      share.style.width = `${got}%`;
      mark.style.left = `${wanted}%`;
      bar.append(share, mark);
      const line = element("div", undefined, { class: "split" });
      line.append(element("span", short(one.cluster)), bar,
        element("span", total ? `${got.toFixed(1)} % of ${total}, weight ${wanted.toFixed(1)} %` : `weight ${wanted.toFixed(1)} %, no request yet`));
      parts.push(line);
    });
  }
  $("#splits").classList.toggle("full", parts.length > 0);
  $("#splits .list").replaceChildren(...parts);
}

function routes() {
  const wanted = $("#search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  let all = 0;
  for (const table of tables.listeners) for (const host of table.virtual_hosts) for (const route of host.routes) {
    all++;
    const place = route.file ? `${route.file}:${route.line}` : "";
    const goes = route.destinations.length ? route.destinations.map((one) => short(one.cluster)).join(", ") : route.action;
    const text = [table.listener, host.domains.join(" "), route.name, route.conditions.join(" "), goes, route.action, place].join(" ").toLowerCase();
    if (!wanted.every((word) => text.includes(word)) || rows.length >= 500) continue;
    rows.push(row([
      { label: "Listener", text: table.port ? `port ${table.port}` : table.listener },
      { label: "Host", text: host.domains.join(", ") },
      { label: "Order", text: route.order, kind: "number" },
      { label: "Route", text: route.name },
      { label: "Conditions", text: route.conditions.join("; "), kind: "whole" },
      { label: "Goes to", text: goes },
      { label: "Written in", text: place },
    ]));
  }
  fill("#routes", rows);
  $("#routes table").classList.add("always");
  $("#found").textContent = wanted.length ? `${rows.length} of ${all} routes` : `${all} routes`;
}

function chain() {
  const parts = [];
  for (const one of tables.chains) {
    parts.push(element("h3", `${one.port ? `port ${one.port}` : one.listener} · ${one.route_config || ""}`));
    const list = element("ol", undefined, { class: "filters", start: "0" });
    for (const filter of one.filters) {
      const item = element("li", filter.failure_policy ? `${filter.name} (${filter.failure_policy})` : filter.name);
      item.append(element("small", filter.file ? `${filter.reason} · ${filter.file}:${filter.line}` : filter.reason));
      list.append(item);
    }
    parts.push(list);
  }
  $("#chain").classList.add("full");
  $("#chain .list").replaceChildren(...parts);
}

// Everybody's requests are charged to buckets; what is told is the emptiest one. Keys themselves are kept nowhere.
function tokens() {
  fill("#limits", history[history.length - 1].limits.slice(0, 200).map((one) => {
    const bar = element("div", undefined, { class: "bar", "aria-hidden": "true" }), left = element("i");
    left.style.width = `${one.capacity ? 100 * Math.min(one.least / one.capacity, 1) : 0}%`;
    bar.append(left);
    const least = element("div", undefined, { class: "left" });
    least.append(bar, element("span", `${one.least} of ${one.capacity}`));
    const kind = one.least === 0 ? "bad" : one.least * 5 < one.capacity ? "warn" : "";
    const keys = one.overflow === null ? String(one.keys) : `${one.keys}, and others that share ${one.overflow} left`;
    return row([
      { label: "Plugin", text: one.plugin },
      { label: "Rule", text: one.shadow ? `${one.rule} (shadow: counted, not refused)` : one.rule, kind: "whole" },
      { label: "Limit", text: `${one.requests} in ${since(one.per)}` },
      { label: "Least left", node: least, kind },
      { label: "Keys in use", text: keys, kind: "number" },
      { label: "Empty", text: one.empty, kind: one.empty ? "number bad" : "number" },
      { label: "Full again in", text: one.full_in ? remaining(one.full_in) : "–", kind: "number" },
    ]);
  }));
}

function counters() {
  const now = history[history.length - 1], old = ago(WINDOW);
  const passed = Math.max(now.now - old.now, 0.001);
  const before = new Map(old.counters);
  fill("#counters", now.counters.filter(([, count]) => count > 0).slice(0, 200).map(([name, count]) => {
    const own = name.startsWith("sluice.") ? name.slice(7).split(".") : null;
    const [module, rule, what] = own && own.length > 2 ? [own[0], own.slice(1, -1).join("."), own[own.length - 1]] : ["", name, ""];
    const recent = history.length > 1 ? (count - (before.get(name) || 0)) / passed : 0;
    return row([
      { label: "Module", text: module }, { label: "Rule", text: rule },
      { label: "What", text: what, kind: /limited|refused|overflow|abort|denied/.test(what) ? "warn" : "" },
      { label: "per second", text: number(recent), kind: "number" }, { label: "All", text: count, kind: "number" },
    ]);
  }));
}

function recent() {
  fill("#recent", history[history.length - 1].recent.slice(0, 30).map((one) => {
    const button = element("button", "Explain", { type: "button", class: "small", "aria-label": `Explain ${one.method} ${one.url}` });
    button.addEventListener("click", () => {
      const form = $("#ask");
      form.elements.method.value = one.method;
      form.elements.url.value = one.url;
      form.elements.headers.value = one.headers.map(([name, value]) => `${name}: ${value}`).join("\n");
      form.elements.client.value = one.client || "";
      form.requestSubmit();
      $("#explain").scrollIntoView();
      $("#explain").focus({ preventScroll: true });
    });
    const status = one.status === null ? "none" : String(one.status);
    return row([
      { label: "Time", text: new Date(one.start * 1000).toLocaleTimeString(), kind: "number" },
      { label: "Request", text: `${one.method} ${one.url}`, kind: "whole" },
      { label: "Status", text: one.flags && one.flags !== "-" ? `${status} ${one.flags}` : status, kind: /^[5n]/.test(status) ? "number bad" : /^4/.test(status) ? "number warn" : "number" },
      { label: "Route", text: one.route || "–" },
      { label: "Destination", text: one.cluster ? short(one.cluster) : "–" },
      { label: "Took", text: millis(one.took * 1000), kind: "number" },
      { label: "", node: button },
    ]);
  }));
}

function show() {
  traffic();
  splits();
  tokens();
  counters();
  // Rows under somebody's finger or focus stay where they are.
  if (!$("#recent").contains(document.activeElement) && !$("#recent").matches(":hover")) recent();
}

async function poll() {
  const state = $("#state");
  try {
    const data = await (await fetch("dashboard/data", { cache: "no-store" })).json();
    if (generation !== data.generation || !tables) {
      tables = await (await fetch("dashboard/tables", { cache: "no-store" })).json();
      generation = data.generation;
      routes();
      chain();
    }
    state.textContent = data.ready ? "LIVE" : "DRAINING";
    state.className = data.ready ? "live" : "draining";
    if (!paused) {
      history.push(data);
      if (history.length > MINUTE + 1) history.shift();
      show();
    }
  } catch {
    state.textContent = "NO ANSWER";
    state.className = "lost";
  }
  setTimeout(poll, PERIOD);
}

async function ask(event) {
  event.preventDefault();
  const form = event.target, verdict = $("#verdict"), story = $("#story");
  verdict.textContent = "…";
  verdict.className = "";
  const headers = form.elements.headers.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const body = JSON.stringify({ method: form.elements.method.value || "GET", url: form.elements.url.value, headers, client: form.elements.client.value || null });
  try {
    const answer = await (await fetch("dashboard/explain", { method: "POST", body, headers: { "content-type": "application/json" } })).json();
    story.textContent = answer.story || "";
    if (answer.error) {
      verdict.textContent = answer.error;
      verdict.className = "bad";
      return;
    }
    const { status, route, why_not: not } = answer.answer;
    verdict.textContent = not ? `${status ?? "no answer"}: ${not.message}` : `${status ?? "no answer"}${route ? ` by route ${route.name}` : ""}`;
    verdict.className = not || status >= 500 ? "bad" : status >= 400 ? "warn" : "good";
  } catch {
    verdict.textContent = "the gateway does not answer";
    verdict.className = "bad";
  }
}

$("#search").addEventListener("input", () => tables && routes());
$("#ask").addEventListener("submit", ask);
$("#pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  event.target.textContent = paused ? "Go on" : "Pause";
});
poll();
