"use strict";
// Forms: what is typed into one becomes the fields of one request.

// A form's fields as JSON has them; what is empty, or not ticked, is left out.
function fieldsOf(form) {
  const fields = {};
  for (const { name, value, type, checked, dataset } of form.elements) {
    if (!name || (type === "checkbox" ? !checked : value === "")) continue;
    if (type === "checkbox") fields[name] = true;
    else if (type === "number") fields[name] = Number(value);
    else fields[name] = "list" in dataset ? value.split(/\s+/).filter(Boolean) : value;
  }
  return fields;
}

// Has a click on a button, and the submission of a form, carried out by `command(name, fields)` or `request(...)`.
function serveForms(root, { command, request }) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-command]");
    if (button) command(button.dataset.command, button.dataset.side ? { side: button.dataset.side } : {});
  });
  root.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.command) command(form.dataset.command, fieldsOf(form));
    else if (form.dataset.request) request(...form.dataset.request.split(" "), fieldsOf(form));
    else return;
    event.preventDefault();
  });
}
