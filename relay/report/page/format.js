"use strict";
// Numbers as people read them, and elements whose text is only ever text.

const inBytes = (count) => count.toLocaleString("en-US");

const counted = (number, noun) => `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;

const inSeconds = (seconds) => (seconds === null ? "open" : seconds < 1000 ? seconds.toFixed(3) : Math.round(seconds).toLocaleString("en-US"));

const timeOfDay = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 23);

// An element with these properties and children; a child that is a string becomes text.
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// A link if this is the address of a page, else text: nothing else than a page is ever linked to.
function linked(address) {
  if (!/^https?:\/\/[^\s]+$/.test(address)) return address;
  return element("a", { href: address, rel: "noopener noreferrer", referrerPolicy: "no-referrer" }, address);
}
