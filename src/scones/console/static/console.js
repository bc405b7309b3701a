// The console's own script: times in the user's zone, keys, photos to try, jobs as they go on, and the review.
"use strict";

const byId = (name) => document.getElementById(name);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Times: the server writes them in UTC.
const zone = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
const clock = { hour: "2-digit", minute: "2-digit", hour12: false };
const day = { day: "2-digit", month: "short", ...clock };
function localize(root) {
  for (const each of all("time[datetime]:not([title])", root)) {
    const moment = new Date(each.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    each.title = each.textContent;
    each.textContent = new Intl.DateTimeFormat(undefined, zone).format(moment);
  }
  for (const each of all("text[data-time]", root)) {
    const form = each.dataset.form === "hour" ? clock : day;
    each.textContent = new Intl.DateTimeFormat(undefined, form).format(new Date(each.dataset.time));
    each.removeAttribute("data-time");
  }
}

function say(words) { byId("said").textContent = words; }

// A form is sent once, however often its button is clicked; the page that is gone back to can send it again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  for (const button of all("button", form)) button.setAttribute("aria-disabled", "true");
});
window.addEventListener("pageshow", () => {
  for (const form of all("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of all("button", form)) button.removeAttribute("aria-disabled");
  }
});

// Jobs.
const states = ["idle", "running", "succeeded", "failed"];
function follow(box) {
  if (box.dataset.status !== "running" || box.dataset.followed) return;
  box.dataset.followed = "yes";
  const source = new EventSource(box.dataset.job);
  const lines = box.querySelector("[data-job-lines]");
  source.onmessage = (event) => {
    const job = JSON.parse(event.data);
    const log = lines.tagName === "PRE";
    lines.textContent = log ? job.lines.join("\n") : job.lines.at(-1) || lines.textContent;
    if (log) lines.scrollTop = lines.scrollHeight;
    const bar = box.querySelector("[data-job-bar]");
    if (bar) {
      bar.hidden = !job.bar;
      if (job.bar) { bar.max = job.bar[1]; bar.value = job.bar[0]; bar.setAttribute("aria-label", job.bar[2]); }
      const left = box.querySelector("[data-job-left]");
      if (left) left.textContent = job.bar ? job.bar[2] : "";
    }
    for (const [name, status] of Object.entries(job.states)) {
      const node = all("[data-state]").find((each) => each.dataset.state === name);
      if (node) { node.classList.remove(...states); node.classList.add(status); }
    }
  };
  source.addEventListener("end", () => { source.close(); window.location.replace(window.location.href); });
  window.addEventListener("pagehide", () => source.close());
}

// A photo to try: chosen, dropped, pasted or taken. Photos larger than the workflow takes are made smaller here.
const TOO_LARGE = 5 * 1024 * 1024, SIDE = 2400;
async function smaller(file) {
  if (file.size <= TOO_LARGE) return file;
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.width * scale);
    canvas.height = Math.round(picture.height * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    return blob && blob.size < file.size ? new File([blob], file.name, { type: "image/jpeg" }) : file;
  } catch {
    return file; // The workflow says why it cannot be read.
  }
}
function photoForm(form) {
  const input = form.querySelector("input[type=file]"), preview = form.querySelector("#preview");
  async function take(file) {
    const chosen = await smaller(file), list = new DataTransfer();
    list.items.add(chosen);
    input.files = list.files;
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(chosen);
    preview.hidden = false;
    say(`${chosen.name} is chosen`);
  }
  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0]); });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) { event.preventDefault(); take(file); }
  });
}

// Keys.
let waiting = false;
function typing(target) { return target.closest("input:not([type=file], [type=checkbox]), select, textarea, [contenteditable]") !== null; }
function move(step) {
  const items = all("[data-list] > li > a, [data-list] > tr, [data-list] > article");
  if (!items.length) return;
  const now = items.findIndex((each) => each === document.activeElement || each.contains(document.activeElement));
  const next = items[Math.min(items.length - 1, Math.max(0, now + step))];
  (next.querySelector("a") || next).focus();
  if (next.tabIndex < 0 && !next.querySelector("a")) { next.tabIndex = -1; next.focus(); }
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (byId("help").open) return;
  if (waiting) {
    waiting = false;
    const link = all("nav a[data-key]").find((each) => each.dataset.key === event.key);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key === "?") { event.preventDefault(); byId("help").showModal(); return; }
  if (window.reviewKeys && window.reviewKeys(event)) return;
  if (event.key === "g") { waiting = true; setTimeout(() => { waiting = false; }, 1500); }
  else if (event.key === "/") {
    event.preventDefault();
    const search = byId("search");
    if (search) search.focus(); else window.location.assign("/decisions");
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
});
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) { byId(opener.dataset.opens).showModal(); return; }
  const dot = event.target.closest("circle[data-place]");
  if (dot) {
    const row = byId(`window-${dot.dataset.place}`);
    for (const each of all("tr.picked")) each.classList.remove("picked");
    if (row) { row.classList.add("picked"); row.scrollIntoView({ block: "center" }); row.focus(); }
  }
  const link = event.target.closest("[data-select]");
  if (link) link.select();
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

function prepare(root) {
  localize(root);
  all("[data-job]", root).forEach(follow);
  all("form[data-photo]", root).forEach(photoForm);
}
prepare(document);
document.addEventListener("htmx:load", (event) => localize(event.detail.elt));

// Review: the next photo is shown at once; answers are sent behind it, one after the other, and what fails comes back.
function startReview(box) {
  const size = Number(box.dataset.batch), photo = byId("review-photo"), by = byId("review-by"), shown = byId("review-shown");
  let items = [], now = null, done = [], batch = 0, open = 0, sending = Promise.resolve(), loading = false;
  const seen = new Set();
  const corrects = "corrects" in box.dataset;
  const address = (item) => item.address;
  by.value = localStorage.getItem("scones-by") || by.value;
  shown.checked = localStorage.getItem("scones-shown") === "yes";
  by.addEventListener("change", () => localStorage.setItem("scones-by", by.value));
  shown.addEventListener("change", () => { localStorage.setItem("scones-shown", shown.checked ? "yes" : "no"); show(); });
  const thought = (item) => (item.predicted ? `${item.predicted} ${(100 * item.confidence).toFixed(1)}%` : "nothing") + (corrects ? `, the label: ${item.label}` : "");

  async function fill() {
    if (loading) return;
    loading = true;
    try {
      await sending;
      const found = await (await fetch(corrects ? "/review/queue?of=training" : "/review/queue")).json();
      open = found.open;
      const known = new Set([...items, ...(now ? [now] : [])].map((each) => each.photo));
      items.push(...found.items.filter((each) => !known.has(each.photo) && !seen.has(each.photo)));
      for (const each of items.slice(0, 6)) new Image().src = address(each);
    } catch { byId("review-wrong").textContent = "The console does not answer; reload the page when it runs again."; }
    loading = false;
    if (!now) next();
  }
  function next() {
    now = batch >= size ? null : items.shift() || null;
    show();
    for (const each of items.slice(0, 4)) new Image().src = address(each);
    if (items.length < 10) fillOnce();
  }
  let empty = false;
  function fillOnce() { if (!loading && !empty) { const before = items.length; fill().then(() => { empty = items.length === before && !now; }); } }
  function show() {
    photo.hidden = !now;
    if (now) photo.src = address(now);
    byId("review-waits").hidden = !(now && now.waits);
    byId("review-empty").hidden = Boolean(now) || batch >= size;
    const pause = byId("review-pause");
    pause.hidden = batch < size;
    pause.textContent = batch >= size ? `${size} photos are decided. Press Enter for the next ${size}.` : "";
    const model = byId("review-model");
    model.hidden = !(now && shown.checked);
    model.textContent = now ? `the model thought: ${thought(now)}` : "";
    byId("review-progress").value = batch;
    byId("review-count").textContent = `${batch} of ${size} in this batch, about ${Math.max(0, open - done.length)} photos wait`;
  }
  function send(form, item) {
    sending = sending.then(async () => {
      const body = new URLSearchParams({ csrf: box.dataset.csrf, photo: item.photo, by: by.value, ...form });
      let said;
      try { said = await (await fetch("/review/answer", { method: "POST", body })).json(); }
      catch { said = { error: "The console does not answer; this answer was not kept." }; }
      if (said.error) {
        byId("review-wrong").textContent = said.error;
        done = done.filter((each) => each.item !== item);
      } else if (said.others && Object.keys(others(said)).length) {
        const words = Object.entries(others(said)).map(([who, label]) => `${who} said ${label}`);
        byId("review-last").textContent += `; ${words.join(", ")}`;
      } else if (said.orders && said.orders.length) {
        byId("review-last").textContent += `; courier ${said.courier} has ${said.orders.length} orders`;
      }
      box.dataset.kept = String(Number(box.dataset.kept || 0) + (said.error ? 0 : 1));
    });
  }
  // Whoever else said something different; the label that counts may be another person's.
  function others(said) {
    const all = { ...said.others, ...(said.by ? { [said.by]: said.label } : {}) };
    delete all[by.value];
    return all;
  }
  function decide(label) {
    if (!now) return;
    const item = now;
    seen.add(item.photo);
    done.push({ item, label });
    batch += 1;
    byId("review-wrong").textContent = "";
    byId("review-last").textContent = label ? `you: ${label}, the model: ${thought(item)}` : "skipped";
    if (label) send({ what: corrects ? "correct" : "answer", label }, item);
    else if (!corrects) send({ what: "skip" }, item);
    next();
  }
  function undo() {
    const last = done.pop();
    if (!last) return;
    if (last.label) send({ what: corrects ? "withdraw correction" : "withdraw" }, last.item);
    if (now) items.unshift(now);
    seen.delete(last.item.photo);
    now = last.item;
    batch = Math.max(0, batch - 1);
    byId("review-last").textContent = "undone";
    show();
  }
  box.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.answer) decide(button.dataset.answer);
    else if ("skip" in button.dataset) decide("");
    else if ("undo" in button.dataset) undo();
  });
  window.reviewKeys = (event) => {
    const button = all("[data-digit]", box).find((each) => each.dataset.digit === event.key);
    if (button) decide(button.dataset.answer);
    else if (event.key === "s") decide("");
    else if (event.key === "z") undo();
    else if (event.key === "Enter" && batch >= size) { batch = 0; next(); }
    else return false;
    event.preventDefault();
    return true;
  };
  fill();
}
if (byId("review")) startReview(byId("review"));
