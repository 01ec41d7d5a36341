"use strict";
// What the profiles say of each behaviour, with the evidence, and what the other causes mean.

const quirkId = (said, name) => `quirk-${said}-${name}`;
const causeId = (name) => `cause-${name}`;

function describeProfiles(root, data, used) {
  data.profiles.forEach((profile, number) => {
    root.append(element("h3", {}, `${profile.name}: ${profile.title}`));
    for (const [what, text] of [["what apps see", profile.symptom], ["remedy", profile.remedy]]) {
      if (text) root.append(element("p", {}, `${what}: ${text}`));
    }
    for (const quirk of profile.quirks) root.append(describeQuirk(quirk, quirkId(number, quirk.name)));
  });
  const causes = Object.entries(data.causes).filter(([name]) => used.has(name));
  if (causes.length) root.append(element("h3", {}, "Causes that are no behaviour"));
  for (const [name, meaning] of causes) {
    root.append(element("article", { id: causeId(name) }, element("b", {}, name), `: ${meaning}`));
  }
}

function describeQuirk(quirk, id) {
  const made = element("article", { id }, element("b", {}, quirk.name), ` (${quirk.status}) ${quirk.summary}`);
  if (quirk.settings.length) made.append(element("p", {}, element("code", {}, quirk.settings.join(", "))));
  for (const { says, versions, source } of quirk.evidence) {
    made.append(element("blockquote", {}, says, versions ? ` [${versions}] ` : " ", linked(source)));
  }
  return made;
}

// Where a behaviour or another cause is explained; empty if nowhere.
function explained(data, section, name) {
  const profile = section.said === null ? null : data.profiles[section.said];
  if (profile?.quirks.some((quirk) => quirk.name === name)) return `#${quirkId(section.said, name)}`;
  return Object.hasOwn(data.causes, name) ? `#${causeId(name)}` : "";
}
