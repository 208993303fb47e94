// The page Review: the next images are there before they are asked for; verdicts are sent one after the other.
import { $, json, page, say, swap } from "./page.js";

const stage = $("#stage"), form = $("#judge");
const AHEAD = 8;

if (!form) {
  const name = $("#reviewer");
  try { if (name && !name.value) name.value = localStorage.getItem("reviewer") ?? ""; } catch { /* no storage: type it */ }
} else {
  const base = `/v1/data-sets/${encodeURIComponent(stage.dataset.name)}`;
  const reviewer = stage.dataset.reviewer, blind = "blind" in stage.dataset;
  const query = new URLSearchParams(stage.dataset.query);
  try { localStorage.setItem("reviewer", reviewer); } catch { /* typed again next time */ }
  let queue = [], done = Number($("#done").textContent), left = Number($("#left").textContent);
  let sending = Promise.resolve(), fetching = null, all = false, last = "", early = false, since = 0;

  const images = (row) => `${base}/images/${row.id}`;
  const node = (tag, given = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), given);
    made.append(...inside);
    return made;
  };

  function show() {
    const row = queue[0];
    $("#picture").hidden = $("#words").hidden = !row;
    $("#finished").hidden = Boolean(row) || !all;
    $("#done").textContent = done;
    $("#left").textContent = left;
    $("#bar").max = Math.max(1, done + left);
    $("#bar").value = done;
    $("#row_id").value = row?.id ?? "";
    if (!row) return;
    const image = $("#image");
    if (!image.src.endsWith(images(row))) image.src = images(row);
    image.alt = row.text;
    $("#label").textContent = row.label;
    $("#text").textContent = row.text;
    const scores = Object.entries(row.scores).map(([name, score]) => `, ${name} ${score.toFixed(3)}`).join("");
    const mine = row.mine ? ` You said: ${row.mine.verdict}${row.mine.reason ? `, ${row.mine.reason}` : ""}.` : "";
    $("#said").textContent = (blind || !row.verdict ? "" : `${row.verdict}${row.reason ? ` by ${row.reason}` : ""}${scores}`) + mine;
    $("#claims").replaceChildren(...row.claims.map((claim, at) => node("li", { className: "check" },
      node("input", { type: "checkbox", name: "struck", value: claim, id: `struck-${at}` }),
      node("label", { htmlFor: `struck-${at}`, textContent: claim }))));
    $("#objects").replaceChildren(...row.objects.map(({ noun }) => node("li", { className: "thing" },
      node("span", { textContent: noun }), " ",
      node("label", {}, node("input", { type: "checkbox", name: "present", value: noun }), " there"), " ",
      node("label", {}, node("input", { type: "checkbox", name: "absent", value: noun }), " not there"))));
    $("#captions").value = row.by_hand ? row.captions.join("\n") : "";
    $("#reason").value = "";
    for (const next of queue.slice(1, 4)) new Image().src = images(next);
  }

  /** The next images; resolves when they are here. What has come is passed over, whether its verdict is saved or not. */
  async function fetchMore() {
    const asked = new URLSearchParams(query);
    asked.set("count", AHEAD);
    asked.set("blind", blind);
    if (!asked.get("label")) asked.delete("label");
    if (last) asked.set("after", last);
    let found = null;
    try {
      found = await json(`${base}/reviews/next?${asked}`);
      queue.push(...found.rows.filter((row) => !judged.has(row.id) && !queue.some((each) => each.id === row.id)));
      last = found.rows.at(-1)?.id ?? last;
      all = found.rows.length < AHEAD;
    } catch (error) { say(error.message, 10); }
    fetching = null;
    show();
    if (found) fill();  // those who are quick have looked at all of them by now
    else setTimeout(fill, 3000);
  }

  function fill() {
    if (!all && !fetching && queue.length <= AHEAD / 2) fetching = fetchMore();
    return fetching;
  }

  const judged = new Set();
  let resting;
  function refresh() {
    clearTimeout(resting);
    resting = setTimeout(() => sending.then(async () => {
      const found = await page(`${location.pathname}?${query}`);
      if (found) swap(found, ["summary"]);
    }), ++since % 10 ? 1500 : 0);
  }

  let unsent = 0;
  const queued = (more) => { unsent += more; $("#unsent").textContent = unsent ? `, ${unsent} being saved` : ""; };
  addEventListener("beforeunload", (event) => { if (unsent) event.preventDefault(); });  // the browser asks whether to wait

  /** Verdicts are sent in the order in which they were given; what failed comes back. */
  function judge(verdict, reason = "") {
    const row = queue.shift();
    if (!row) return;
    judged.add(row.id);
    done += 1; left -= 1;
    show();
    fill();
    queued(1);
    sending = sending.then(() => json(`${base}/reviews`, "POST", { row_id: row.id, verdict, reviewer, reason, blind }))
      .then(() => { queued(-1); refresh(); })
      .catch((error) => { queued(-1); judged.delete(row.id); queue.unshift(row); done -= 1; left += 1; say(error.message, 10); show(); });
  }

  function undo() {
    sending = sending.then(() => json(`${base}/reviews/undo`, "POST", { reviewer })).then(async ({ entry, row }) => {
      if (!entry) { say("There is nothing to undo."); return; }
      const seen = blind ? row : await json(`${base}/reviews/rows/${row.id}?${new URLSearchParams({ reviewer })}`);
      if (entry.type === "verdict" && judged.delete(row.id)) { done -= 1; left += 1; }
      queue = [seen, ...queue.filter((each) => each.id !== row.id)];
      show();
      refresh();
    }).catch((error) => say(error.message, 10));
  }

  function words() {
    const row = queue[0], given = new FormData(form);
    if (!row) return;
    const captions = given.get("captions").split("\n").map((line) => line.trim()).filter(Boolean);
    const body = { row_id: row.id, reviewer, captions, struck: given.getAll("struck"), present: given.getAll("present"), absent: given.getAll("absent") };
    sending = sending.then(() => json(`${base}/reviews/captions`, "POST", body)).then((entry) => {
      say(`Saved: ${entry.captions[0]}`);
      refresh();
    }).catch((error) => say(error.message, 10));
  }

  async function act(value) {
    const [what, ...reason] = value.split(":");
    if (what !== "undo" && !queue.length) {  // the page shows its first image before the queue is here
      if (early || !$("#row_id").value) return;
      early = true;
      await fill();
      early = false;
    }
    if (what === "accept") judge("accept");
    else if (what === "reject") judge("reject", reason.join(":") || $("#reason").value.trim());
    else if (what === "undo") undo();
    else if (what === "captions") words();
    else if (what === "skip") { queue.shift(); show(); fill(); }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(event.submitter?.value ?? "reject");
  });
  $("#skip").hidden = false;
  $("#skip").addEventListener("click", () => act("skip"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.matches("textarea, select, input:not([type=checkbox])")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key.toLowerCase();
    const button = /^[1-9]$/.test(key) ? $(`[data-key="${key}"]`) : null;
    if (button) act(button.value);
    else if (key === "a") act("accept");
    else if (key === "r") act("reject");
    else if (key === "u" || key === "backspace") act("undo");
    else if (key === "s") act("skip");
    else if (key === "c") { $("#words").open = !$("#words").open; if ($("#words").open) $("#words input, #words textarea")?.focus(); }
    else return;
    event.preventDefault();
  });
  fill();
}
