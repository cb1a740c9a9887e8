"use strict";
// Everything shown goes through textContent or an attribute of an SVG: nothing of the JSON is ever parsed as HTML.
(() => {
  const KEY = "litellm-edge-key", EVERY = 5000;
  const at = (id) => document.getElementById(id);
  const url = location.pathname.replace(/\/+$/, "") + "/status";
  let key = null, timer = 0, fetched = 0, running = false;
  try { key = sessionStorage.getItem(KEY); } catch { /* storage may be forbidden: the key then lives in this page */ }

  const el = (name, props, ...children) => {
    const node = document.createElement(name);
    for (const [prop, value] of Object.entries(props || {})) {
      if (prop === "class") node.className = value; else node.setAttribute(prop, value);
    }
    node.append(...children.flat(4).filter((child) => child !== null && child !== undefined).map((child) => child instanceof Node ? child : String(child)));
    return node;
  };
  const pill = (kind, text) => el("span", { class: "pill " + kind }, text);
  const number = (n) => Number(n || 0).toLocaleString("en");
  const duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "never";
    const s = Math.max(0, Math.floor(seconds));
    if (s < 120) return s + " s";
    if (s < 7200) return Math.floor(s / 60) + " min";
    if (s < 172800) return Math.floor(s / 3600) + " h";
    return Math.floor(s / 86400) + " days";
  };
  const millis = (ms) => ms === null || ms === undefined ? "–" : ms < 10 ? ms.toFixed(2) : ms < 1000 ? ms.toFixed(0) : (ms / 1000).toFixed(1) + " s";
  const bytes = (n) => n >= 2 ** 30 ? (n / 2 ** 30).toFixed(1) + " GiB" : n >= 2 ** 20 ? (n / 2 ** 20).toFixed(1) + " MiB" : Math.round(n / 1024) + " KiB";
  const when = (text) => { const date = new Date(text); return isNaN(date) ? String(text) : date.toLocaleString(); };
  const facts = (pairs) => el("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const tile = (title, mark, pairs, ...more) => el("section", { class: "tile" }, el("h3", {}, title, mark), facts(pairs), ...more);
  const code = (text) => el("code", {}, text);

  function overview(s) {
    const e = s.edge, p = s.python, states = { up: "good", draining: "warn", handed_over: "warn" };
    const tiles = [
      tile("Edge", pill(states[e.state] || "bad", e.state.replace("_", " ")), [
        ["version", e.version], ["build", code(e.source_digest.slice(0, 16))], ["up for", duration(e.uptime_seconds)], ["process", e.pid],
        ["in flight", number(e.in_flight.native) + " native, " + number(e.in_flight.python) + " python"], ["connections", number(e.connections)],
      ]),
      tile("Python gateway", pill(p.state === "up" ? "good" : p.state === "not_configured" ? "" : "bad", p.state.replace("_", " ")), [
        ["address", p.address && code(p.address)], ["version", p.version || (p.state === "not_configured" ? null : "not known yet")],
        ["allowed", p.versions && code(p.versions)], ["since", p.since_seconds !== undefined ? duration(p.since_seconds) : null],
        ["last answer", p.state !== "up" && p.state !== "not_configured" ? duration(p.last_up_seconds_ago) + (p.last_up_seconds_ago === null ? "" : " ago") : null],
        ["last error", p.state === "up" ? null : p.last_error],
      ]),
      tile("Kill switch", s.switch && s.switch.all_python ? pill("bad", "on: all to Python") : pill("good", "off"), [
        ["turned on by", s.switch && s.switch.by.join(", ")],
        ["evidence gate", s.gate ? (s.gate.enforced ? "enforced" : "NOT enforced") : null],
        ["evidence valid for", s.gate ? duration(s.gate.max_age_seconds) : null],
      ]),
      tile("Process", "", [
        ["memory", bytes(e.memory_bytes)], ["CPU time", e.cpu_seconds.toFixed(1) + " s"], ["threads", e.threads],
        ["open files", number(e.open_files) + " of " + number(e.max_files)],
        ["bodies held", bytes(e.body_memory_bytes) + " of " + bytes(e.body_budget_bytes)],
      ]),
    ];
    at("tiles").replaceChildren(...tiles);
  }

  function notes(s) {
    const out = [], note = (kind, ...text) => out.push(el("p", { class: "note " + kind }, ...text));
    if (s.switch && s.switch.all_python) note("bad", "The kill switch is on (" + s.switch.by.join(", ") + "): every request goes to Python.");
    if (s.python.state === "down" || s.python.state === "starting") note("bad", "The Python gateway does not answer" + (s.python.last_error ? ": " + s.python.last_error : "") + ". Native routes go on.");
    if (s.python.in_range === false) note("bad", "The Python gateway's version " + s.python.version + " is outside of " + s.python.versions + ": evidence does not count.");
    if (s.routes_file && s.routes_file.refused) note("bad", "routes.toml was refused, the last good one is in force: " + s.routes_file.refused.message);
    if (s.config.refused) note("bad", "config.yaml was refused, the last good one is in force: " + s.config.refused);
    if (!s.routes_file) note("warn", "No routes.toml: every request is passed through.");
    if (s.gate && !s.gate.enforced) note("warn", "Evidence is not asked for (LITELLM_EDGE_UNGATED): for the parity suite only.");
    const back = s.routes.filter((r) => r.mode !== "python" && r.effective === "python");
    if (back.length && !(s.switch && s.switch.all_python)) note("warn", "Kept in Python against their mode: " + back.map((r) => r.id).join(", ") + ".");
    at("notes").replaceChildren(...out);
    return out.length === 0 ? ["good", "all well"] : out.some((n) => n.className.includes("bad")) ? ["bad", "needs attention"] : ["warn", "see the notes"];
  }

  function spark(route, seconds) {
    const h = route.traffic.history, n = h.native.length, slots = Math.max(n, 61), W = 240, H = 38, w = W / slots;
    const total = h.native.map((v, i) => v + h.python[i] + h.edge[i]), most = Math.max(...total, 1);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 " + W + " " + H); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("role", "img");
    const window = route.traffic.window;
    svg.setAttribute("aria-label", "requests by " + seconds + " s: " + number(window.native.requests) + " native, " + number(window.python.requests) + " python, at most " + number(most) + " at once");
    const bar = (x, y, height, kind) => {
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of [["x", x], ["y", y], ["width", Math.max(w - 0.6, 0.5)], ["height", height], ["class", kind]]) rect.setAttribute(name, value);
      svg.append(rect);
    };
    bar(0, H - 1, 1, "s-base"); svg.lastChild.setAttribute("width", W);
    for (let i = 0; i < n; i++) {
      let y = H - 1;
      for (const side of ["native", "python", "edge"]) {
        const height = h[side][i] / most * (H - 2);
        if (height > 0) { y -= height; bar((slots - n + i) * w, y, height, "s-" + side); }
      }
    }
    return svg;
  }

  function latencies(w) {
    const row = (side) => w[side].requests ? el("tr", {}, el("th", { scope: "row", class: "key " + side }, side), el("td", {}, ["p50_ms", "p90_ms", "p99_ms"].map((q) => millis(w[side][q])).join(" / "))) : null;
    const rows = [row("native"), row("python")].filter(Boolean);
    return rows.length ? el("table", { class: "latency" }, el("tbody", {}, rows)) : el("span", { class: "quiet" }, "no requests");
  }

  function errors(w) {
    const line = (side) => {
      const s = w[side];
      if (!s.requests) return null;
      const part = (text, bad) => el("span", { class: "whole" + (bad ? " bad" : "") }, text);
      const parts = [];
      if (s.failed) parts.push(part(number(s.failed) + " × 5xx (" + (100 * s.failed / s.requests).toFixed(1) + " %)", true));
      if (s.refused) parts.push(part(number(s.refused) + " × 4xx"));
      if (s.aborted) parts.push(part(number(s.aborted) + " cut"));
      return el("p", {}, el("span", { class: "key " + side }, side), parts.length ? parts.flatMap((p, i) => i ? [", ", p] : [p]) : "none");
    };
    return [line("native"), line("python")].filter(Boolean);
  }

  function row(route, seconds) {
    const t = route.traffic, w = t.window, cell = (label, ...children) => el("td", { "data-label": label }, ...children);
    const listed = route.mode !== undefined;
    const runs = !listed ? [el("span", { class: "quiet" }, route.note)] : [
      route.effective === "python" ? pill(route.mode === "python" ? "" : "warn", "python") : pill("good", route.effective + (route.effective === "canary" && route.canary ? " " + route.canary.percent + " %" : "")),
      route.effective !== route.mode ? el("p", { class: "quiet" }, "mode is " + route.mode) : null,
      route.why && route.mode !== "python" ? el("p", {}, route.why) : null,
    ];
    const ev = route.evidence;
    const evidence = !ev ? [el("span", { class: "quiet" }, "–")] : [
      pill(ev.verdict === "fresh" ? "good" : "warn", ev.verdict.replaceAll("_", " ")),
      ev.age_seconds !== undefined && ev.age_seconds !== null ? el("p", {}, duration(ev.age_seconds) + " old, " + ev.result) : null,
      ev.cases ? el("p", { class: "quiet" }, ev.cases.passed + " of " + ev.cases.total + " cases" + (ev.cases.tolerated ? ", " + ev.cases.tolerated + " tolerated" : "")) : null,
    ];
    const all = t.total.native + t.total.python + t.total.edge;
    return el("tr", { "data-route": route.id },
      el("th", { scope: "row" }, route.id, listed ? el("p", { class: "quiet" }, (route.methods || ["any method"]).join(" "), " ", code(route.paths[0] || ""), route.paths.length > 1 ? " +" + (route.paths.length - 1) : "") : null),
      cell("Runs", runs), cell("Evidence", evidence),
      cell("Last 10 minutes",
        ["native", "python"].map((side) => w[side].requests || side === route.effective ? el("span", { class: "key whole " + side }, number(w[side].requests) + " " + side) : null),
        w.edge ? el("span", { class: "key" }, number(w.edge) + " edge") : null,
        w.native.requests + w.python.requests + w.edge ? spark(route, seconds) : null,
        el("p", { class: "quiet" }, number(all) + " since the start" + (t.total.declined ? ", " + number(t.total.declined) + " declined" : ""))),
      cell("Errors", errors(w)), cell("Latency p50 / p90 / p99, ms", latencies(w)));
  }

  function routes(s) {
    const all = [...s.routes, ...s.others];
    // routes that are Python's anyway and that nobody asked for would only bury the others
    const quiet = all.filter((route) => route.mode === "python" && route.traffic.total.native + route.traffic.total.python + route.traffic.total.edge === 0);
    at("routes").tBodies[0].replaceChildren(...all.filter((route) => !quiet.includes(route)).map((route) => row(route, s.slot_seconds)));
    at("quiet").hidden = quiet.length === 0;
    at("quiet").firstElementChild.textContent = quiet.length + (quiet.length === 1 ? " route" : " routes") + " of mode python without a request so far";
    at("quiet").lastElementChild.replaceChildren(...quiet.flatMap((route, i) => [i ? ", " : "", code(route.id)]));
    at("legend").textContent = "Counts and latencies of the last " + duration(s.window_seconds) + ". Latency in ms, estimated from histogram buckets.";
    const rows = all.flatMap((route) => route.traffic.declines.map((d) => [route.id, d])).sort((a, b) => b[1].count - a[1].count);
    at("declines").replaceChildren(rows.length === 0 ? el("p", {}, "None.") : el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ["Route", "Reason", "Count", "What it means"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map(([id, d]) => el("tr", {}, el("th", { scope: "row" }, id), el("td", {}, code(d.reason)), el("td", {}, number(d.count)), el("td", {}, d.why)))))));
  }

  function files(s) {
    const mark = (refused) => refused ? pill("bad", "refused") : pill("good", "in force");
    const f = s.routes_file, c = s.config, tiles = [];
    if (f) tiles.push(tile("routes.toml", mark(f.refused), [["file", code(f.path)], ["loaded", when(f.loaded)], ["digest", code(f.digest.slice(0, 16))], ["refused", f.refused && when(f.refused.at)]], f.refused ? el("p", { class: "bad" }, f.refused.message) : null));
    tiles.push(tile("config.yaml", mark(c.refused), [["loaded", c.loaded && when(c.loaded)], ["digest", code((c.digest || "none").slice(0, 16))], ["model groups", number(c.model_groups)]], c.refused ? el("p", { class: "bad" }, c.refused) : null,
      c.declines.length ? el("p", { class: "quiet" }, "Keys that make requests decline: ", c.declines.map((d, i) => [i ? ", " : "", code(d.key), " (" + d.reason + ")"])) : null));
    at("files").replaceChildren(...tiles);
  }

  function verdict(kind, text) {
    const v = at("verdict");
    if (v.textContent !== text) v.textContent = text;
    v.className = "pill " + kind;
  }

  function show(s) {
    overview(s); routes(s); files(s);
    verdict(...notes(s));
    at("login").hidden = true; at("status").hidden = false; at("leave").hidden = false;
  }

  function ask(message) {
    key = null;
    try { sessionStorage.removeItem(KEY); } catch { /* see above */ }
    clearTimeout(timer);
    at("refused").textContent = message;
    at("login").hidden = false; at("status").hidden = true; at("leave").hidden = true;
    at("updated").textContent = "";
    verdict("", "not connected");
    at("key").focus();
  }

  async function refresh() {
    if (running || !key) return;
    running = true; clearTimeout(timer);
    const mine = key;
    try {
      const answer = await fetch(url, { headers: { Authorization: "Bearer " + mine }, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(15000) });
      if (mine !== key) return;
      if (answer.status === 401) return ask("That is not the master key.");
      if (!answer.ok) throw new Error("the edge answered " + answer.status);
      show(await answer.json());
      try { sessionStorage.setItem(KEY, mine); } catch { /* see above */ }
      fetched = Date.now(); age();
    } catch (error) {
      verdict("bad", "no answer");
      at("refused").textContent = "No status: " + error.message;
      if (fetched) at("updated").textContent = "no answer, shown is what was " + duration((Date.now() - fetched) / 1000) + " ago";
    } finally {
      running = false;
      if (key && !document.hidden) timer = setTimeout(refresh, EVERY);
    }
  }
  function age() { if (fetched && key) at("updated").textContent = "updated " + new Date(fetched).toLocaleTimeString() + ", again every " + EVERY / 1000 + " s"; }

  at("login").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = at("key").value.trim();
    at("key").value = ""; at("refused").textContent = "";
    if (/^[\x21-\x7e]+$/.test(given)) { key = given; refresh(); } else at("refused").textContent = "A key has no spaces and no letters beyond ASCII.";
  });
  at("leave").addEventListener("click", () => ask(""));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  if (key) refresh(); else ask("");
})();
