// What every page uses. A page works without this file; it spares reloading.
//   form[data-quick]   is sent behind the page, and the elements named in data-swap are exchanged for those of the answer.
//   form[data-live]    the same, by itself, whenever something in it changes.
//   [data-follow]      a job: whenever it tells something, the elements named in data-swap are fetched again.
//   a[data-large]      opens in a dialog; the arrow keys go to the next one.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

let silence;
export function say(text, seconds = 4) {
  const notice = $("#notice");
  notice.textContent = text;
  notice.hidden = !text;
  clearTimeout(silence);
  if (text) silence = setTimeout(() => { notice.hidden = true; }, seconds * 1000);
}

/** The answer as a document; a problem is said, and gives null. */
export async function page(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { headers: { Accept: "text/html" }, ...options });
  } catch (error) {
    if (error.name !== "AbortError") say("The server does not answer; is it still running?");
    return null;
  }
  const found = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) {
    say($("#problem", found)?.textContent ?? `The server answered ${answer.status}.`, 12);
    return null;
  }
  found.address = answer.url;
  return found;
}

/** The answer of a JSON route; a problem is thrown with its line. */
export async function json(address, method = "GET", body = undefined) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.detail ?? `The server answered ${answer.status}.`);
  return found;
}

/** Exchange elements, by id, for those of another document; what has not changed stays, and so does the focus. */
export function swap(from, ids) {
  for (const id of ids) {
    const before = document.getElementById(id), after = from.getElementById(id);
    if (!before || !after || before.isEqualNode(after)) continue;
    const focus = before.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Set($$("details[open][id]", before).map((each) => each.id));
    const made = document.importNode(after, true);
    for (const each of $$("details[id]", made)) if (open.has(each.id)) each.open = true;
    const known = new Map($$("img[src]", before).map((image) => [image.getAttribute("src"), image]));
    for (const image of $$("img[src]", made)) {
      const there = known.get(image.getAttribute("src"));
      if (there) { there.alt = image.alt; there.className = image.className; image.replaceWith(there); }
    }
    before.replaceWith(made);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }
  document.dispatchEvent(new CustomEvent("swapped"));
}

const names = (element) => (element.dataset.swap ?? "").split(" ").filter(Boolean);

export async function send(form, button) {
  const data = new URLSearchParams(new FormData(form, button));
  const post = (button?.formMethod || form.method) === "post";
  const action = button?.getAttribute("formaction") || form.getAttribute("action") || location.pathname;
  form.setAttribute("aria-busy", "true");
  const found = await page(post ? action : `${action}?${data}`, post ? { method: "POST", body: data } : {});
  form.removeAttribute("aria-busy");
  if (!found) return null;
  const ids = names(form);
  if (!ids.every((id) => found.getElementById(id))) {  // the answer is another page
    location.assign(found.address);
    return null;
  }
  history.replaceState(null, "", found.address);
  swap(found, ids);
  return found;
}

document.addEventListener("submit", (event) => {
  const form = event.target, sure = event.submitter?.dataset.sure;
  if (sure && !confirm(sure)) { event.preventDefault(); return; }
  if (!form.matches("form[data-quick]") || event.submitter?.hasAttribute("data-whole")) return;
  event.preventDefault();
  send(form, event.submitter);
});

const waiting = new WeakMap();
export async function look(form) {
  if (waiting.has(form)) { waiting.set(form, true); return; }
  waiting.set(form, false);
  const data = new URLSearchParams(new FormData(form)), action = form.getAttribute("action") || location.pathname;
  if (form.method === "post") {  // too long for an address
    const found = await page(action, { method: "POST", body: data });
    if (found) swap(found, form.dataset.liveSwap.split(" "));
  } else {
    const found = await page(`${action}?${data}`);
    if (found) { swap(found, names(form)); history.replaceState(null, "", `${action}?${data}`); }
  }
  const again = waiting.get(form);
  waiting.delete(form);
  if (again) look(form);
}
let pause;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  clearTimeout(pause);
  pause = setTimeout(() => look(form), event.target.type === "range" ? 0 : 180);
});

const TYPES = ["queued", "started", "planned", "block", "class_done", "worker_lost", "block_failed", "writing", "stopped", "ended", "died", "waiting"];
const streams = new Map();
function follow() {
  for (const element of $$("[data-follow]")) {
    const address = element.dataset.follow;
    if (streams.has(address)) continue;
    const stream = new EventSource(address);
    streams.set(address, stream);
    const here = () => $(`[data-follow="${CSS.escape(address)}"]`);
    let due = null, busy = false, again = false, over = false;
    const refresh = async () => {  // one after the other: an older answer may not come last
      due = null;
      if (busy) { again = true; return; }
      const now = here();
      if (!now) { stream.close(); return; }
      busy = true;
      const found = await page(now.dataset.refresh || location.href);
      busy = false;
      if (found && names(now).some((id) => found.getElementById(id))) swap(found, names(now));
      else if (found) { location.assign(found.address); return; }  // the data set of a job has a page by now
      if (again) { again = false; refresh(); } else if (over && here()) due = setTimeout(refresh, 1000);
    };
    const told = (event) => {
      if (event.type === "ended") { over = true; stream.close(); }
      if (due && !over) return;
      clearTimeout(due);
      due = setTimeout(refresh, over ? 100 : 700);
    };
    for (const type of TYPES) stream.addEventListener(type, told);
  }
  for (const [address, stream] of streams) {
    if (!$(`[data-follow="${CSS.escape(address)}"]`)) { stream.close(); streams.delete(address); }
  }
}
document.addEventListener("swapped", follow);
window.addEventListener("pagehide", () => { for (const stream of streams.values()) stream.close(); streams.clear(); });
window.addEventListener("pageshow", follow);

const large = $("#large");
let opened = null;
async function open(link) {
  opened = link;
  const found = await page(link.href);
  if (!found || opened !== link) return;
  const close = document.createElement("form");
  close.method = "dialog";
  close.className = "actions";
  close.innerHTML = '<button type="submit">Close <kbd>Esc</kbd></button><span class="soft small narrow-out"><kbd>←</kbd> <kbd>→</kbd> next image</span>';
  large.replaceChildren(...$$("#one", found).map((each) => document.importNode(each, true)), close);
  if (!large.open) large.showModal();
  $("button", close).focus({ preventScroll: true });
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-large]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); open(link); return; }
  if (event.target === large) large.close();
  const copy = event.target.closest("button[data-copy]");
  if (copy) navigator.clipboard?.writeText($(copy.dataset.copy).textContent).then(() => say("Copied"), () => say("The browser does not allow copying; select the text"));
});
large.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || !opened || event.target.matches("input, textarea, select")) return;
  const links = $$("a[data-large]"), here = links.findIndex((each) => each.href === opened.href);
  const next = links[here + step];
  if (next) { event.preventDefault(); open(next); }
});
large.addEventListener("close", () => {
  const link = opened && $$("a[data-large]").find((each) => each.href === opened.href);
  opened = null;
  link?.focus();
});

document.documentElement.classList.add("js");
follow();
