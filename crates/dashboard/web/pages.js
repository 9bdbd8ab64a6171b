// The pages, drawn from /api. Everything that comes from the mesh is set as text, never as markup.
"use strict";

const page = document.getElementById("page");
const note = document.getElementById("note");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

async function load(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer.json();
}

const percent = (share) => (share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0) + " %";
const rate = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const milliseconds = (value) => (value === null || value === undefined ? "–" : value < 1 ? "<1 ms" : value < 1000 ? value.toFixed(0) + " ms" : (value / 1000).toFixed(2) + " s");
const severity = (errors) => (errors >= 0.1 ? "bad" : errors > 0 ? "warn" : "good");

function table(headings, rows) {
  const numeric = (heading) => (heading.startsWith("#") ? { class: "number" } : {});
  return element("table", {},
    element("thead", {}, element("tr", {}, ...headings.map((h) => element("th", numeric(h), h.replace("#", ""))))),
    element("tbody", {}, ...rows));
}

// ---- Graph -----------------------------------------------------------------------------------

let graphWindow = 30;
let namespace = "";
let selected = null;

// Columns by the longest way from a caller without callers; a cycle stops the walk.
function layers(nodes, edges) {
  const depth = nodes.map(() => 0);
  for (let round = 0; round < nodes.length; round++) {
    let moved = false;
    for (const edge of edges) {
      if (edge.source !== edge.target && depth[edge.target] < depth[edge.source] + 1 && depth[edge.source] + 1 < nodes.length) {
        depth[edge.target] = depth[edge.source] + 1;
        moved = true;
      }
    }
    if (!moved) break;
  }
  return depth;
}

// A drawn padlock, closed where all traffic is under mutual TLS and open where some is not; nothing
// where only the caller reports, who cannot know. (Fonts with such a sign are not everywhere.)
function padlock(share, x, y) {
  if (share === null) return shape("g");
  const closed = share > 0.99;
  return shape("g", { class: closed ? "lock" : "lock open", transform: `translate(${x - 5},${y - 5})` },
    shape("title", {}, `${percent(share)} mutual TLS`),
    shape("path", { d: closed ? "M2,5 V3 a3,3 0 0 1 6,0 V5" : "M2,5 V3 a3,3 0 0 1 6,-1" }),
    shape("rect", { x: 0.5, y: 5, width: 9, height: 7 }));
}

function drawGraph(graph) {
  const width = 150, height = 44, gapX = 118, gapY = 40;
  const depth = layers(graph.nodes, graph.edges);
  const columns = [];
  graph.nodes.forEach((node, index) => {
    (columns[Math.min(depth[index], 8)] ??= []).push(index);
  });
  const place = [];
  const tallest = Math.max(...columns.map((column) => (column || []).length));
  columns.forEach((column, x) => {
    column.sort((a, b) => (graph.nodes[a].namespace + graph.nodes[a].name).localeCompare(graph.nodes[b].namespace + graph.nodes[b].name));
    const offset = ((tallest - column.length) * (height + gapY)) / 2;
    column.forEach((index, y) => { place[index] = [20 + x * (width + gapX), 20 + offset + y * (height + gapY)]; });
  });
  const failing = new Set(graph.edges.filter((edge) => edge.errors >= 0.1).map((edge) => edge.target));
  const drawing = shape("svg", {
    width: columns.length * (width + gapX) + 40, height: tallest * (height + gapY) + 40,
    role: "img", "aria-label": "service graph",
  });
  for (const edge of graph.edges) {
    const [x1, y1] = place[edge.source], [x2, y2] = place[edge.target];
    const from = [x1 + width, y1 + height / 2], to = [x2, y2 + height / 2];
    const bend = Math.max(40, Math.abs(to[0] - from[0]) / 2);
    const path = `M${from[0]},${from[1]} C${from[0] + bend},${from[1]} ${to[0] - bend},${to[1]} ${to[0]},${to[1]}`;
    const words = edge.protocol === "tcp" ? `${rate(edge.bytes / 1024)} KB/s` : `${rate(edge.rate)}/s · ${milliseconds(edge.p95)}`;
    drawing.append(shape("g", { class: `edge ${severity(edge.errors)}`, onclick: () => { selected = edge; showDetail(graph, edge); } },
      shape("path", { d: path, "stroke-width": Math.min(6, 1.5 + Math.log10(1 + edge.rate)) }),
      shape("path", { d: `M${to[0] - 8},${to[1] - 4} L${to[0]},${to[1]} L${to[0] - 8},${to[1] + 4}` }),
      shape("text", { x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2 - 6, "text-anchor": "middle" }, words),
      padlock(edge.mutual_tls, (from[0] + to[0]) / 2, (from[1] + to[1]) / 2 - 24),
      edge.errors > 0 ? shape("text", { x: (from[0] + to[0]) / 2, y: (from[1] + to[1]) / 2 + 10, "text-anchor": "middle" }, percent(edge.errors) + " errors") : shape("g")));
  }
  graph.nodes.forEach((node, index) => {
    const [x, y] = place[index];
    const version = node.version && node.version !== "latest" && node.version !== "unknown" ? " " + node.version : "";
    drawing.append(shape("g", { class: `node ${node.kind} ${failing.has(index) ? "bad" : ""}` },
      shape("rect", { x, y, width, height }),
      shape("text", { x: x + 10, y: y + 18 }, (node.app || node.name).slice(0, 24) + version),
      shape("text", { x: x + 10, y: y + 34, class: "soft" }, node.namespace)));
  });
  return drawing;
}

function showDetail(graph, edge) {
  const detail = document.getElementById("detail");
  if (!detail) return;
  const name = (index) => `${graph.nodes[index].name} (${graph.nodes[index].namespace})`;
  const row = (key, value) => element("tr", {}, element("th", {}, key), element("td", {}, value));
  detail.replaceChildren(element("table", {}, element("tbody", {},
    row("From", name(edge.source)), row("To", name(edge.target)), row("Service", edge.service),
    row("Protocol", edge.protocol), row("Rate", rate(edge.rate) + "/s"), row("Errors", percent(edge.errors)),
    row("95th percentile", milliseconds(edge.p95)),
    row("Mutual TLS", edge.mutual_tls === null ? "seen by the caller only" : percent(edge.mutual_tls)),
    ...Object.entries(edge.codes).map(([code, value]) => row("  " + code, rate(value) + "/s")))));
}

async function graphPage() {
  const whole = await load(`/api/graph?window=${graphWindow}`);
  const namespaces = [...new Set(whole.nodes.map((node) => node.namespace))].filter((name) => name && name !== "unknown").sort();
  const keep = (edge) => !namespace || whole.nodes[edge.source].namespace === namespace || whole.nodes[edge.target].namespace === namespace;
  const edges = whole.edges.filter(keep);
  const used = [...new Set(edges.flatMap((edge) => [edge.source, edge.target]))];
  const graph = {
    nodes: used.map((index) => whole.nodes[index]),
    edges: edges.map((edge) => ({ ...edge, source: used.indexOf(edge.source), target: used.indexOf(edge.target) })),
  };
  const choose = (label, value, options, set) => element("label", {}, label + " ",
    element("select", { onchange: (event) => { set(event.target.value); refresh(); } },
      ...options.map(([key, text]) => { const option = element("option", { value: key }, text); option.selected = String(value) === String(key); return option; })));
  const bar = element("div", { class: "bar" },
    choose("Namespace", namespace, [["", "all"], ...namespaces.map((name) => [name, name])], (value) => { namespace = value; }),
    choose("Over", graphWindow, [[10, "10 s"], [30, "30 s"], [60, "1 min"], [300, "5 min"]], (value) => { graphWindow = Number(value); }),
    element("span", {}, "mizzen dashboard kiali"));
  if (!graph.edges.length) {
    page.replaceChildren(bar, element("p", { class: "empty" }, "No traffic in this window. Send some: the graph follows within two seconds."));
    return;
  }
  page.replaceChildren(bar, element("div", { class: "columns" },
    element("div", { class: "panel" }, drawGraph(graph)),
    element("div", { class: "panel", id: "detail" }, element("p", { class: "empty" }, "Choose an arrow."))));
  const again = selected && graph.edges.find((edge) => edge.service === selected.service
    && graph.nodes[edge.target].name === whole.nodes[selected.target]?.name);
  if (again) showDetail(graph, again);
}

// ---- Metrics ---------------------------------------------------------------------------------

function line(values, colour, top, width, height) {
  const points = values.map((value, index) => (value === null ? null : [index * (width / (values.length - 1)), height - (value / top) * height]));
  let path = "", pen = false;
  for (const point of points) {
    if (!point) { pen = false; continue; }
    path += `${pen ? "L" : "M"}${point[0].toFixed(1)},${point[1].toFixed(1)}`;
    pen = true;
  }
  return shape("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.5 });
}

function chart(title, lines, format) {
  const width = 320, height = 60;
  const top = Math.max(1e-9, ...lines.flatMap(([values]) => values.filter((value) => value !== null))) * 1.1;
  const last = (values) => values.findLast((value) => value !== null);
  return element("div", {},
    element("small", {}, title + ": " + lines.map(([values, , name]) => (name ? name + " " : "") + format(last(values) ?? 0)).join(", ")),
    shape("svg", { width: "100%", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", height },
      shape("line", { x1: 0, y1: height, x2: width, y2: height, stroke: "#d9e0e7" }),
      ...lines.map(([values, colour]) => line(values, colour, top, width, height))));
}

async function metricsPage() {
  const { services, dropped } = await load("/api/charts");
  if (!services.length) {
    page.replaceChildren(element("p", { class: "empty" }, "No requests yet."));
    return;
  }
  page.replaceChildren(
    element("div", { class: "bar" }, `The last ten minutes by service${dropped ? `; ${dropped} samples dropped, too many series` : ""}`),
    element("div", { class: "charts" }, ...services.map((service) => element("div", { class: "panel" },
      element("h3", {}, `${service.service} `, element("small", {}, service.namespace)),
      chart("requests/s", [[service.rate, "#1d5fa8"]], rate),
      chart("errors", [[service.errors, "#c0392b"]], percent),
      chart("duration", [[service.p50, "#1f8a4c", "p50"], [service.p95, "#b7791f", "p95"], [service.p99, "#c0392b", "p99"]], milliseconds)))));
}

// ---- Traces ----------------------------------------------------------------------------------

let traceService = "";
let errorsOnly = false;

async function tracesPage() {
  const { services, traces } = await load(`/api/trace-list?service=${encodeURIComponent(traceService)}&errors=${errorsOnly}`);
  const box = element("input", { type: "checkbox", onchange: (event) => { errorsOnly = event.target.checked; refresh(); } });
  box.checked = errorsOnly;
  const bar = element("div", { class: "bar" },
    element("label", {}, "Service ", element("select", { onchange: (event) => { traceService = event.target.value; refresh(); } },
      ...["", ...services].map((name) => { const option = element("option", { value: name }, name || "all"); option.selected = name === traceService; return option; }))),
    element("label", {}, box, " only with errors"));
  const rows = traces.map((trace) => element("tr", { class: "link", onclick: () => { location.href = `/traces/${trace.id}`; } },
    element("td", {}, new Date(trace.start / 1000).toLocaleTimeString()),
    element("td", { class: trace.error ? "bad" : "" }, trace.root),
    element("td", {}, trace.services.join(", ")),
    element("td", { class: "number" }, String(trace.spans)),
    element("td", { class: "number" }, milliseconds(trace.duration / 1000)),
    element("td", {}, element("a", { href: `/traces/${trace.id}` }, trace.id.slice(0, 8)))));
  page.replaceChildren(bar, rows.length ? table(["Time", "Root", "Services", "#Spans", "#Duration", "Trace"], rows)
    : element("p", { class: "empty" }, "No traces. Sampled requests appear here; Telemetry sets how many are sampled."));
}

async function tracePage(id) {
  const spans = await load(`/api/trace/${encodeURIComponent(id)}`);
  const start = Math.min(...spans.map((span) => span.start));
  const total = Math.max(1, ...spans.map((span) => span.start + span.duration - start));
  const children = new Map();
  const known = new Set(spans.map((span) => span.id));
  for (const span of spans) {
    const parent = known.has(span.parent) ? span.parent : "";
    children.set(parent, [...(children.get(parent) || []), span]);
  }
  const rows = [];
  const visit = (parent, depth, seen) => {
    for (const span of children.get(parent) || []) {
      if (seen.has(span.id)) continue;
      seen.add(span.id);
      rows.push([span, depth]);
      visit(span.id, depth + 1, seen);
    }
  };
  visit("", 0, new Set());
  page.replaceChildren(
    element("div", { class: "bar" }, element("a", { href: "/traces" }, "All traces"), `Trace ${id}, ${spans.length} spans, ${milliseconds(total / 1000)}`),
    element("div", { class: "panel" }, ...rows.map(([span, depth]) => element("details", {},
      element("summary", { class: "span" },
        element("span", { class: "label", style: `padding-left:${depth * 14}px` }, `${span.service}: ${span.name}`),
        element("span", { class: "track" },
          element("span", { class: span.error ? "fill bad" : "fill", style: `left:${((span.start - start) / total) * 100}%;width:${(span.duration / total) * 100}%` }),
          element("span", { class: "time" }, milliseconds(span.duration / 1000)))),
      element("pre", {}, Object.entries(span.attributes).map(([key, value]) => `${key}: ${value}`).join("\n"))))));
}

// ---- Proxies ---------------------------------------------------------------------------------

function sync(proxy, type) {
  const sent = proxy[type + "_sent"], acknowledged = proxy[type + "_acked"];
  if (proxy[type + "_error"]) return ["ERROR", "bad"];
  if (!sent) return ["NOT SENT", ""];
  return sent === acknowledged ? ["SYNCED", "good"] : ["STALE", "warn"];
}

function remaining(seconds) {
  if (seconds === undefined) return ["–", ""];
  const text = seconds > 7200 ? (seconds / 3600).toFixed(1) + " h" : (seconds / 60).toFixed(0) + " min";
  return [text, seconds < 0 ? "bad" : seconds < 3600 ? "warn" : "good"];
}

async function proxiesPage() {
  const proxies = await load("/api/proxies");
  const cell = ([text, kind]) => element("td", { class: kind }, text);
  const rows = proxies.map((proxy) => element("tr", {}, element("td", {}, proxy.proxy), element("td", {}, proxy.istio_version || ""),
    ...["cluster", "listener", "route", "endpoint"].map((type) => cell(sync(proxy, type))),
    cell(remaining(proxy.certificate_expires_in))));
  page.replaceChildren(element("div", { class: "bar" }, element("span", {}, "mizzen proxy-status")),
    rows.length ? table(["Proxy", "Version", "Clusters", "Listeners", "Routes", "Endpoints", "Certificate ends in"], rows)
      : element("p", { class: "empty" }, "No proxy is connected."));
}

// ---- Configuration ---------------------------------------------------------------------------

async function configPage() {
  const { objects, messages } = await load("/api/config");
  const words = { Error: "bad", Warning: "warn", Info: "" };
  const findings = messages.map((message) => element("tr", {},
    element("td", { class: words[message.level] || "" }, message.level), element("td", {}, message.code),
    element("td", {}, message.origin), element("td", {}, message.message)));
  const rows = objects.map((object) => element("tr", {}, element("td", {}, object.kind), element("td", {}, object.namespace),
    element("td", {}, object.name),
    element("td", {}, element("details", {}, element("summary", {}, "spec"), element("pre", {}, JSON.stringify(object.spec, null, 2))))));
  page.replaceChildren(
    element("div", { class: "bar" }, element("span", {}, "mizzen analyze -A")),
    findings.length ? table(["Level", "Code", "Object", "What"], findings) : element("p", { class: "good" }, "✔ No validation issues found."),
    element("h3", {}, "Objects"),
    rows.length ? table(["Kind", "Namespace", "Name", ""], rows) : element("p", { class: "empty" }, "No objects."));
}

// ---- Which page ------------------------------------------------------------------------------

const pages = { graph: [graphPage, 2000], metrics: [metricsPage, 5000], traces: [tracesPage, 5000], proxies: [proxiesPage, 5000], config: [configPage, 0] };
const [, first = "graph", second] = location.pathname.split("/");
const name = first || "graph";
const [draw, every] = name === "traces" && second ? [() => tracePage(second), 0] : pages[name] || pages.graph;

for (const link of document.querySelectorAll("nav a")) {
  if (link.pathname === "/" + name) link.className = "here";
}

async function refresh() {
  try {
    await draw();
    note.textContent = every ? "live" : "";
    note.className = "";
  } catch (error) {
    note.textContent = String(error.message || error);
    note.className = "bad";
    if (page.querySelector(".empty")?.textContent === "Loading…") page.querySelector(".empty").textContent = "Nothing to show yet.";
  }
}

refresh();
// A page whose control is in use is not redrawn under the hand.
if (every) setInterval(() => { if (!document.hidden && !page.contains(document.activeElement?.closest("select"))) refresh(); }, every);
