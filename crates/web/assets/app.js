// Small listeners; every page works without them.

// Live changes: the server names a topic, and whatever shows it asks for itself again. Only a page that is looked at
// holds a stream: browsers open six connections to one site, and a page in the back must not use them up.
const live = document.body.dataset.live;
const topics = ["inbox", "integrations", "events", "pulse"];
// Changes that another node of the server made are not in the stream; this is the net below it.
const beat = 20000;
let source;

function changed(topic) {
  htmx.trigger(document.body, `live:${topic}`);
}
function catchUp() {
  topics.forEach(changed);
}
function listen() {
  if (!live || source || document.hidden) return;
  source = new EventSource(live);
  for (const topic of topics) source.addEventListener(topic, () => changed(topic));
  let opened = false;
  source.addEventListener("open", () => {
    if (opened) catchUp();
    opened = true;
  });
}
function rest() {
  source?.close();
  source = undefined;
}
listen();
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => {
  listen();
  if (event.persisted) catchUp();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    rest();
  } else {
    listen();
    catchUp();
  }
});
setInterval(() => {
  if (live && !document.hidden) catchUp();
}, beat);

// A conversation is read from its end.
function toEnd() {
  const end = document.getElementById("end");
  if (end && document.getElementById("thread")) end.scrollIntoView({ block: "nearest" });
}
toEnd();
let said = document.querySelectorAll("#thread .message").length;
document.body.addEventListener("htmx:afterSettle", () => {
  const messages = document.querySelectorAll("#thread .message");
  if (messages.length === said) return;
  said = messages.length;
  toEnd();
  const announce = document.getElementById("announce");
  if (announce) announce.textContent = messages[said - 1]?.querySelector(".text")?.textContent ?? "";
});

// A composer sends with Control and Enter.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
    event.target.form?.requestSubmit();
  }
});
