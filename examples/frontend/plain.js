// The page without a framework.

import {
  PROVIDERS, STATUS, accountLabel, accountName, chosenOrganization, connectUrl, integrations, me, outcome, outcomeText, test,
} from "./agenstack.js";

const root = document.getElementById("connections");

/** An element with a class and a text. Texts are never taken for markup. */
function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function notice(text, good) {
  const made = element("p", good ? "notice good" : "notice bad", text);
  made.setAttribute("role", good ? "status" : "alert");
  return made;
}

function account(org, it) {
  const row = element("li", "");
  const words = element("div", "account");
  words.append(element("strong", "", accountLabel(it)));
  if (it.last_error) words.append(element("p", "reason", it.last_error.message));
  const found = element("p", "found");
  found.setAttribute("role", "status");
  words.append(found);
  const button = element("button", "test", "Test");
  button.type = "button";
  button.setAttribute("aria-label", `Test ${accountLabel(it)}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    found.textContent = "Asking …";
    try {
      found.textContent = (await test(org, it.id)).message;
    } catch (error) {
      found.textContent = error.message;
    }
    button.disabled = false;
  });
  row.append(words, button);
  return row;
}

function card(org, provider, connections) {
  const made = document.getElementById("card").content.cloneNode(true);
  const find = (css) => made.querySelector(css);
  const mine = connections.filter((it) => it.provider === provider.id && it.status !== "disconnected");
  // The worst of several accounts is what has to be seen.
  const status = ["needs_reconnect", "paused", "connected"].find((one) => mine.some((it) => it.status === one)) ?? "disconnected";
  find(".card").dataset.provider = provider.id;
  find("h2").textContent = provider.title;
  find(".badge").textContent = STATUS[status];
  find(".badge").dataset.status = status;
  find(".purpose").textContent = provider.purpose;
  find(".accounts").append(...mine.map((it) => account(org, it)));
  if (mine.length === 0) find(".accounts").remove();
  find(".connect").textContent = `Connect ${provider.title}`;
  find(".connect").classList.toggle("primary", mine.length === 0);
  if (mine.length > 0) {
    const more = element("details", "");
    const form = find("form");
    form.replaceWith(more);
    more.append(element("summary", "", "Connect another, or again"), form);
  }

  const { field } = provider;
  const [input, wrong] = [find("input"), find(".wrong")];
  if (field) {
    input.name = field.name;
    find(".label").textContent = field.label;
    find(".ending").textContent = field.ending;
  } else {
    find("label").remove();
  }
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field) return location.assign(connectUrl(provider.id, org));
    const name = accountName(field, input.value);
    wrong.hidden = name !== null;
    wrong.textContent = name === null ? `Give the name that stands before ${field.ending}.` : "";
    input.setAttribute("aria-invalid", String(name === null));
    if (name === null) return input.focus();
    location.assign(connectUrl(provider.id, org, { [field.name]: name }));
  });
  return made;
}

/** More than one organization: a person chooses. */
function chooser(organizations, org) {
  const label = element("label", "chooser", "Organization");
  const select = element("select", "");
  select.append(...organizations.map((it) => new Option(it.name, it.id, it.id === org, it.id === org)));
  select.addEventListener("change", () => show(organizations, select.value, null));
  label.append(select);
  return label;
}

async function show(organizations, org, ended) {
  const connections = await integrations(org);
  const cards = element("div", "cards");
  cards.append(...PROVIDERS.map((provider) => card(org, provider, connections)));
  root.replaceChildren(cards);
  if (organizations.length > 1) root.prepend(chooser(organizations, org));
  if (ended) root.prepend(notice(outcomeText(ended), ended.ok));
}

function signedOut() {
  const box = element("div", "card");
  const link = element("a", "button primary", "Sign in");
  link.href = `/login?next=${encodeURIComponent(location.pathname)}`;
  box.append(element("p", "purpose", "Sign in to see what is connected."), link);
  root.replaceChildren(box);
}

try {
  const who = await me();
  const org = who && chosenOrganization(location.pathname, who.organizations);
  if (!who) signedOut();
  else if (!org) root.replaceChildren(notice("You belong to no organization yet.", false));
  else await show(who.organizations, org, outcome(location.search));
} catch (error) {
  root.replaceChildren(notice(error.message, false));
}
root.removeAttribute("aria-busy");
