import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import type { StatusOutput } from "../../../src/generated/status.js";
import { HomeError } from "../../../src/ui/api/transport.js";
import { CommandProblem } from "../../../src/ui/api/ui-api.js";
import { draftOf } from "../../../src/ui/form/draft.js";
import { FORM } from "../../../src/ui/page/settings/form.js";
import { Tried } from "../../../src/ui/page/settings/keystore-test.js";
import { MyChanges } from "../../../src/ui/page/settings/lost-race.js";
import { PreviewResult } from "../../../src/ui/page/settings/preview-result.js";
import { RemovalQuestion } from "../../../src/ui/page/settings/removal-question.js";
import { whyProfileStays } from "../../../src/ui/words/stays.js";
import { lossToAsk } from "../../../src/ui/page/settings/use-editor.js";
import { UnsavedQuestion } from "../../../src/ui/page/shell/unsaved-question.js";
import { SettingsPage } from "../../../src/ui/page/settings/settings-page.js";
import { Trouble } from "../../../src/ui/page/settings/trouble.js";
import { idOf } from "../../../src/ui/page/settings/use-focus.js";
import { atFields } from "../../../src/ui/form/problems.js";
import {
  editorOf,
  loadedFrom,
  renderEditor,
  renderSettings,
  SILENT_API,
  tagWithId,
  textOf,
  textWithId,
} from "./settings-world.js";

const VAULT = {
  ...{ name: "vault", type: "vault", url: "https://v.example" },
  auth: { method: "token", tokenFile: "/etc/luksmith/secrets/vault-token-0123456789ab" },
};
const STORED = { version: 1, keystores: [{ name: "local", type: "file" }, VAULT] };
const textOfElement = (element: ReactElement) => textOf(renderToStaticMarkup(element));
const nothing = () => undefined;

describe("a field", () => {
  it("says what is wrong with it, and is described by that", () => {
    const html = renderSettings({ version: 1, logFile: "relative" });
    const id = idOf("/logFile");
    expect(textWithId(html, `${id}-problems`)).toContain("This must be an absolute path.");
    expect(tagWithId(html, id)).toContain('aria-invalid="true"');
    expect(tagWithId(html, id)).toContain(`aria-describedby="${id}-problems ${id}-help"`);
    expect(textWithId(html, `${idOf("/libvirtUri")}-problems`)).toBe("");
  });

  it("keeps what was typed and is no number", () => {
    const html = renderSettings({ version: 1, rotation: { afterDays: "soon" } });
    expect(tagWithId(html, idOf("/rotation/afterDays"))).toContain('value="soon"');
    expect(textWithId(html, `${idOf("/rotation/afterDays")}-problems`)).toContain(
      "This must be a whole number.",
    );
  });

  it("for a stored secret says so, and is not needed", () => {
    const stored = renderSettings(STORED, ["/keystores/1/auth/token"]);
    const id = idOf("/keystores/1/auth/token");
    expect(textWithId(stored, `${id}-help`)).toContain("A secret is stored; leave empty to keep it.");
    expect(textWithId(renderSettings(STORED), `${id}-help`)).not.toContain("is stored");
    expect(tagWithId(stored, id)).toContain('value=""');
  });

  it("that names a keystore or a profile offers those that there are", () => {
    const html = renderSettings({ ...STORED, profiles: [{ name: "default" }], rules: [{ name: "r" }] });
    expect(textWithId(html, idOf("/profiles/0/keystore"))).toBe("The first: local local vault");
    expect(textWithId(html, idOf("/rules/0/profile"))).toBe("Default: default default");
  });

  it("shows a value that the schema does not know, rather than another one", () => {
    const html = renderSettings({ version: 1, logLevel: "verbose" });
    expect(textWithId(html, idOf("/logLevel"))).toContain("verbose (not one of the choices)");
  });
});

describe("the page", () => {
  it("shows the keystore and the profile that hold while the settings name none", () => {
    const text = textOf(renderSettings({ version: 1 }));
    expect(text).toContain("local The embedded keystore on this host");
    expect(text).toContain("default luks, keys in local");
    expect(text).toContain("There is no rule: only what a guest's own definition asks for is encrypted.");
  });

  it("describes its parts in text of the usual size, right below their headings", () => {
    expect(renderSettings({ version: 1 })).toMatch(/<h2[^>]*>Keystores<\/h2><p>Where passphrases are kept\./);
  });

  it("says that it is reading", () => {
    expect(textOfElement(<SettingsPage api={SILENT_API} />)).toContain("Reading the settings…");
  });

  it("saves only what has changed, and says how it stands", () => {
    const save = (html: string) => /<button[^>]*>(?:<[^>]+>)*Save/.exec(html)?.[0] ?? "";
    const loaded = loadedFrom(STORED);
    expect(save(renderEditor(editorOf(loaded)))).toContain('disabled=""');
    const draft = { ...draftOf(loaded), edited: { ...STORED, logLevel: "debug" } };
    const changed = renderEditor(editorOf(loaded, { draft }));
    expect(save(changed)).not.toContain("disabled");
    expect(textOf(changed)).toContain("There are unsaved changes.");
    expect(save(renderEditor(editorOf(loaded, { draft, saving: true })))).toContain('disabled=""');
  });

  it("sums up what the host refuses, and says it at the field too", () => {
    const problems = atFields(FORM, STORED, [
      { pointer: "/keystores/1/url", sentence: "must be another address" },
    ]);
    const html = renderEditor(editorOf(loadedFrom(STORED), { problems, outcome: { kind: "invalid" } }));
    expect(textOf(html)).toContain("Not saved: one thing is wrong");
    expect(textOf(html)).toContain("Keystores › vault › Address : This must be another address.");
    expect(textWithId(html, `${idOf("/keystores/1/url")}-problems`)).toContain(
      "This must be another address.",
    );
  });

  it("says what a save leaves behind", () => {
    const outcome = { kind: "saved", warnings: ["keystore old has 3 keys"] } as const;
    const text = textOf(renderEditor(editorOf(loadedFrom(STORED), { outcome })));
    expect(text).toContain("The settings are saved.");
    expect(text).toContain("keystore old has 3 keys");
  });

  it("does not claim that nothing was saved where no answer came", () => {
    const failed = (error: unknown) =>
      textOf(renderEditor(editorOf(loadedFrom(STORED), { outcome: { kind: "failed", error } })));
    expect(failed(new HomeError("unreachable", "connection refused"))).toContain(
      "Nobody knows whether the settings were saved",
    );
    const refused = new CommandProblem({
      code: "SETTINGS_UNWRITABLE",
      what: "cannot write",
      hint: "make room",
    });
    expect(failed(refused)).toContain("The settings were not saved");
    expect(failed(refused)).toContain("What to do: make room");
  });

  it("says that nothing was saved where the server was too busy to begin", () => {
    const error = new HomeError("busy", "8 commands run already. Wait until one has ended.");
    const text = textOf(renderEditor(editorOf(loadedFrom(STORED), { outcome: { kind: "failed", error } })));
    expect(text).toContain("The settings were not saved");
    expect(text).toContain("8 commands run already. Wait until one has ended.");
    expect(text).not.toContain("What to do");
  });

  it("does not save again before it knows what the first save made", () => {
    const loaded = loadedFrom(STORED);
    const draft = { ...draftOf(loaded), edited: { ...STORED, logLevel: "debug" } };
    const outcome = { kind: "unread", error: new HomeError("unreachable", "no answer") } as const;
    const html = renderEditor(editorOf(loaded, { draft, outcome }));
    expect(textOf(html)).toContain("The settings are saved, but could not be read again");
    expect(/<button[^>]*>(?:<[^>]+>)*Save/.exec(html)?.[0]).toContain('disabled=""');
  });
});

describe("a lost race", () => {
  const loaded = loadedFrom(STORED);
  const draft = { ...draftOf(loaded), edited: { ...STORED, headers: { keep: 7 } } };
  const race = (theirs: Record<string, string | number | object>) =>
    textOfElement(
      <MyChanges
        editor={editorOf(loaded, { draft })}
        theirs={{ ...loaded, stored: { ...STORED, ...theirs } }}
      />,
    );

  it("offers both ways on, and drops nothing by itself", () => {
    const text = textOf(renderEditor(editorOf(loaded, { draft, outcome: { kind: "lost" } })));
    expect(text).toContain("somebody else has changed the settings since you opened them");
    expect(text).toContain("Show my changes");
    expect(text).toContain("Load the new settings");
  });

  it("shows what I changed, and puts it on top where nobody else touched it", () => {
    const text = race({ logLevel: "debug" });
    expect(text).toContain("Header backups › Keep : default: 3 → 7");
    expect(text).toContain("Put my changes on top of the new settings");
    expect(text).not.toContain("they have changed this as well");
  });

  it("asks whose is to hold where both touched it", () => {
    const text = race({ headers: { keep: 5 } });
    expect(text).toContain("they have changed this as well");
    expect(text).toContain("Take theirs where both changed the same");
    expect(text).toContain("Take mine where both changed the same");
  });

  it("has nothing to do where both typed the same", () => {
    expect(race({ headers: { keep: 7 } })).toContain("The new settings say already what you typed.");
  });
});

describe("what was typed", () => {
  it.each([
    ["leaving", "They are lost if you leave.", "Stay"],
    ["undoing", "They are lost if you undo them.", "Keep them"],
    ["loading", "They are lost if you load the settings of the host.", "Keep them"],
  ] as const)("is asked about before %s loses it", (loss, sentence, keep) => {
    const text = textOfElement(<UnsavedQuestion loss={loss} lose={nothing} keep={nothing} />);
    expect(text).toContain(sentence);
    expect(text).toContain(keep);
  });
});

describe("removing a profile", () => {
  it("is refused with the reason", () => {
    expect(whyProfileStays({ kind: "refused", why: "default" })).toContain("so there must be one");
    expect(whyProfileStays({ kind: "refused", why: "used", rules: ["all"] })).toBe(
      "Rule all names it. Choose another profile in every one of them first.",
    );
    expect(whyProfileStays({ kind: "refused", why: "used", rules: ["all", "2"] })).toContain(
      "Rules all, 2 name it.",
    );
  });
});

type Disk = StatusOutput["guests"][number]["disks"][number];

describe("removing a keystore", () => {
  const disk: Omit<Disk, "device"> = {
    ...{ type: "file", volume: "/v", askedBy: [] },
    ...{ protection: "encrypted", verdict: "protected" },
  };
  const disks = [{ ...disk, device: "vda", keystore: "vault" }];
  const guests = [{ id: "1", name: "web", running: true, dataPlaces: [], disks }];
  const ask = (names: readonly string[]) =>
    renderToStaticMarkup(
      <RemovalQuestion
        removal={{ kind: "saved", names }}
        name="vault"
        asked={{ kind: "known", status: { guests } }}
        confirm={nothing}
      />,
    );

  it("is refused while a profile uses it", () => {
    const removal = { kind: "refused", why: "used", profiles: ["default"], isFirst: false } as const;
    const html = renderToStaticMarkup(
      <RemovalQuestion removal={removal} name="vault" asked={{ kind: "asking" }} confirm={nothing} />,
    );
    expect(textOf(html)).toContain("Profile default uses it. Choose another keystore");
    expect(html).not.toContain("<button");
  });

  it("names the disks that would not open, and wants the name typed", () => {
    const html = ask(["vault"]);
    expect(textOf(html)).toContain("1 disk has its key in it");
    expect(textOf(html)).toContain("web vda");
    expect(textOf(html)).toContain("luksmith keys migrate --from vault --to NAME");
    expect(/<button[^>]*>/.exec(html)?.[0]).toContain('disabled=""');
  });

  it("is one button where no disk's key is in it", () => {
    expect(textOf(ask(["other"]))).toContain("No disk of this host has its key in it.");
    expect(/<button[^>]*>/.exec(ask(["other"]))?.[0]).not.toContain("disabled");
  });

  it("wants the name typed where nobody knows", () => {
    const asked = { kind: "failed", error: new HomeError("unreachable", "no answer") } as const;
    const html = renderToStaticMarkup(
      <RemovalQuestion
        removal={{ kind: "saved", names: ["vault"] }}
        name="vault"
        asked={asked}
        confirm={nothing}
      />,
    );
    expect(textOf(html)).toContain("could not be found out");
    expect(/<button[^>]*>/.exec(html)?.[0]).toContain('disabled=""');
  });
});

describe("a save after which keys are out of reach", () => {
  const loaded = loadedFrom(STORED);
  const another = { ...STORED, keystores: [STORED.keystores[0]!, { name: "vault", type: "kmip" }] };
  const draft = { ...draftOf(loaded), edited: another };

  it("waits for consent, once for each keystore", () => {
    expect(lossToAsk(draft, [])).toEqual({ name: "vault", why: "type" });
    expect(lossToAsk(draft, ["vault"])).toBeUndefined();
    expect(lossToAsk(draftOf(loaded), [])).toBeUndefined();
    const both = { ...draft, edited: { ...STORED, keystores: [{ name: "new", type: "kmip" }] } };
    expect(lossToAsk(both, ["local"])).toEqual({ name: "vault", why: "gone" });
  });

  it.each([
    ["gone", "no keystore is called vault any more"],
    ["type", "vault is another kind of keystore"],
    ["directory", "vault has another directory"],
  ] as const)("is asked about with what is the matter: %s", (why, words) => {
    const asking = { name: "vault", why };
    const text = textOf(renderEditor(editorOf(loaded, { draft, asking })));
    expect(text).toContain("Save without the keys in vault");
    expect(text).toContain(words);
    expect(text).toContain("Looking for disks whose key is in it…");
    expect(textOf(renderEditor(editorOf(loaded, { draft })))).not.toContain("Save without");
  });
});

describe("the test of a keystore", () => {
  const result = { name: "vault", type: "vault", seconds: 0.512, checks: ["reached" as const] };

  it("tells that it works, and how long it took", () => {
    const text = textOfElement(<Tried result={{ ...result, ok: true }} />);
    expect(text).toContain("The keystore works (0.51 s)");
    expect(text).toContain("The keystore answers.");
  });

  it("tells what went wrong after what was passed, and what to do", () => {
    const problem = {
      code: "KEYSTORE_DENIED",
      what: "the login is refused",
      why: "no such role",
      hint: "look at the role",
    };
    const text = textOfElement(<Tried result={{ ...result, ok: false, problem }} />);
    expect(text).toContain(
      "The keystore answers. The login is refused. No such role. What to do: look at the role",
    );
  });
});

describe("the preview of rules", () => {
  const disk = { volume: "/v", askedBy: [] };

  it("shows guest, disk, rule and wish", () => {
    const disks = [
      { ...disk, device: "vda", rule: "finance", wish: "encrypted" as const, profile: "default" },
    ];
    const text = textOfElement(
      <PreviewResult preview={{ guests: [{ id: "1", name: "web", disks }] }} age="current" />,
    );
    expect(text).toContain("1 disk: 1 must be encrypted.");
    expect(text).toContain("web vda finance must be encrypted (profile default)");
    expect(text).not.toContain("have changed since");
  });

  it("says why a guest's disks are not known, and that settings have changed since", () => {
    const problem = { code: "GUEST_UNREADABLE", what: "cannot read web" };
    const guests = [{ id: "1", name: "web", disks: [], problem }];
    const text = textOfElement(<PreviewResult preview={{ guests }} age="outdated" />);
    expect(text).toContain("web: its disks could not be looked at");
    expect(text).toContain("Cannot read web.");
    expect(text).toContain("The settings have changed since");
  });

  it("shows a hundred of many disks, and how many it does not show", () => {
    const disks = Array.from({ length: 250 }, (_, index) => ({
      ...disk,
      device: `vd${index}`,
      wish: "none" as const,
    }));
    const html = renderToStaticMarkup(
      <PreviewResult preview={{ guests: [{ id: "1", name: "web", disks }] }} age="current" />,
    );
    expect(html.match(/<tr>/g)).toHaveLength(101);
    expect(textOf(html)).toContain("150 disks are not shown");
  });

  it("has words for a host without guests", () => {
    expect(textOfElement(<PreviewResult preview={{ guests: [] }} age="current" />)).toContain(
      "This host has no guests yet",
    );
  });
});

describe("what is said of a failure", () => {
  it.each([
    ["unreachable", "What to do: see whether the host is up"],
    ["expired", "What to do: run luksmith ui again on the host"],
    ["forbidden", "It failed Only for administrators."],
    ["broken", "What to do: run the same luksmith command on the host"],
  ] as const)("has words for a home that is %s", (reason, words) => {
    expect(
      textOfElement(<Trouble error={new HomeError(reason, "only for administrators")} title="It failed" />),
    ).toContain(words);
  });
});
