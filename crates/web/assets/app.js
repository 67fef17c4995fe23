// Small listeners; every page works without them.
function toEnd() {
  const end = document.getElementById("end");
  if (end && document.getElementById("thread")) end.scrollIntoView({ block: "nearest" });
}
toEnd();
// A page that was looked at while it changed keeps its place at the end, and says that something came.
document.body.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "thread") {
    toEnd();
    const last = document.querySelector("#thread .message:last-child .text");
    const announce = document.getElementById("announce");
    if (last && announce) announce.textContent = last.textContent;
  }
});
// An open composer sends with Control and Enter.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
    event.target.form?.requestSubmit();
  }
});
