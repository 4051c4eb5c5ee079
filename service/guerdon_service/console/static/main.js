/** The frame: which page is shown, the key, the theme. */
import { apiKey, keepApiKey } from "./api.js";
import { show } from "./dom.js";
import { notice } from "./parts.js";
import evaluations from "./pages/evaluations.js";
import feedback from "./pages/feedback.js";
import live from "./pages/live.js";
import models from "./pages/models.js";
import playground from "./pages/playground.js";
import reference from "./pages/reference.js";

/** A page is called with where it is drawn, the rest of its address, and a signal of when it is left. */
const PAGES = { playground, models, evaluations, feedback, live, api: reference };
const view = document.getElementById("view");
let leaving = new AbortController();

/** The parts of the address; one that cannot be read is none. */
function place() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

async function navigate() {
  const [name, ...rest] = place();
  const known = Object.hasOwn(PAGES, name ?? "") ? name : "playground";
  const page = PAGES[known];
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  document.title = `${page.title} · Guerdon`;
  for (const link of document.querySelectorAll("nav a, .tools a")) {
    const isHere = link.getAttribute("href") === `#/${known}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  show(view);
  view.setAttribute("aria-busy", "true");
  try {
    await page(view, rest, signal);
  } catch (error) {
    if (!signal.aborted) view.append(notice(error));
  } finally {
    if (!signal.aborted) view.removeAttribute("aria-busy");
  }
}

function setUpKey() {
  const button = document.getElementById("key");
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key-field");
  const why = document.getElementById("key-why");
  const name = () => (button.textContent = apiKey() ? "Key: set" : "Key: none");
  const open = (reason) => {
    if (dialog.open) return;
    why.textContent = reason;
    field.value = "";
    dialog.showModal();
  };
  button.addEventListener("click", () => open(""));
  document.addEventListener("guerdon:key", (event) => open(event.detail));
  dialog.addEventListener("close", () => {
    if (!dialog.returnValue) return;
    keepApiKey(dialog.returnValue === "use" ? field.value.trim() : "");
    field.value = "";
    dialog.returnValue = "";
    name();
    navigate();
  });
  name();
}

function setUpTheme() {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const name = () => {
    button.textContent = current() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} theme`);
  };
  button.addEventListener("click", () => {
    const next = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("guerdon.theme", next);
    name();
  });
  dark.addEventListener("change", name);
  name();
}

setUpKey();
setUpTheme();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the page
  view.focus();
});
window.addEventListener("hashchange", () => {
  navigate();
  view.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
navigate();
